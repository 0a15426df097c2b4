"""Rights that roles give, and rights that requests of the audit log have used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms import ROOMS

FORBIDDEN_VERBS = frozenset({"*", "escalate", "bind", "impersonate", "deletecollection"})
FORBIDDEN_RESOURCES = frozenset(
    {"*", "secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"}
)
DISCOVERY = ("/api", "/apis", "/openapi", "/version", "/healthz", "/readyz", "/livez")
# Everybody who is authenticated may ask what they themselves may do (ClusterRole system:basic-user).
ABOUT_ONESELF = ("create", "authorization.k8s.io", "selfsubjectaccessreviews")
CREATED = 201
OWN_KINDS = {room.kind.kind: room.kind.plural for room in ROOMS}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource (`plural` or `plural/subresource`), of one name if not of all."""

    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        where = f"{self.resource}.{self.group}".rstrip(".")
        return f"{self.verb} {where} {self.name}".rstrip()

    def covers(self, other: Right) -> bool:
        """Whether who has this right has the other."""
        same = (self.verb, self.group, self.resource) == (other.verb, other.group, other.resource)
        return same and self.name in ("", other.name)


def granted(roles: Iterable[Manifest]) -> set[Right]:
    """Every right in the rules of these Roles and ClusterRoles."""
    return {
        Right(verb, group, resource, name)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def asked(lines: Iterable[Manifest]) -> dict[Right, list[Manifest]]:
    """Rights that requests needed → those requests. Applying what does not exist needs create beside patch."""
    found: dict[Right, list[Manifest]] = {}
    for line in lines:
        about = line.get("objectRef")
        if about is None:
            continue
        resource = "/".join(part for part in (about["resource"], about.get("subresource", "")) if part)
        verbs = [line["verb"]]
        if line["verb"] == "patch" and code(line) == CREATED:
            verbs.append("create")
        for verb in verbs:
            right = Right(verb, about.get("apiGroup", ""), resource, about.get("name", ""))
            found.setdefault(right, []).append(line)
    return found


def code(line: Manifest) -> int:
    """The status of the answer."""
    return int(line.get("responseStatus", {}).get("code", 0))


def unused(rights: Iterable[Right], used: Iterable[Right]) -> list[str]:
    """Rights that no request needed."""
    needed = list(used)
    return [str(right) for right in sorted(rights) if not any(right.covers(one) for one in needed)]


def uncovered(rights: Iterable[Right], used: dict[Right, list[Manifest]]) -> list[str]:
    """Requests that no right of these allows, but for what everybody may."""
    given = list(rights)
    return [
        str(one)
        for one in sorted(used)
        if (one.verb, one.group, one.resource) != ABOUT_ONESELF and not any(right.covers(one) for right in given)
    ]


def forbidden(lines: Iterable[Manifest]) -> list[str]:
    """Requests that the API server did not allow."""
    return [f"{line['verb']} {line['requestURI']}: {code(line)}" for line in lines if code(line) in (401, 403)]


def undiscovered(lines: Iterable[Manifest]) -> list[str]:
    """Requests for something that is no resource and no discovery either."""
    paths = (line["requestURI"] for line in lines if "objectRef" not in line)
    return sorted({path for path in paths if not path.startswith(DISCOVERY)})


def blocked_owners(lines: Iterable[Manifest]) -> set[Right]:
    """`update` of finalizers of kinds whose deletion our children block: in no request, but checked on writing."""
    bodies = [line.get("requestObject") or {} for line in lines if 200 <= code(line) <= 299]
    owners = [one for body in bodies for one in body.get("metadata", {}).get("ownerReferences", ())]
    kinds = {one["kind"] for one in owners if one.get("blockOwnerDeletion")}
    return {Right("update", "plumbline.dev", f"{OWN_KINDS[kind]}/finalizers") for kind in kinds & OWN_KINDS.keys()}


def too_much(role: Manifest) -> list[str]:
    """What no role of ours may hold."""
    found = []
    for right in granted([role]):
        if right.verb in FORBIDDEN_VERBS or right.resource in FORBIDDEN_RESOURCES or right.group == "*":
            found.append(f"{role['kind']} {role['metadata']['name']}: {right}")
    return found
