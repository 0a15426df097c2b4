"""Who a child belongs to, and what the loop adds to a manifest before it is applied."""

import copy
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from plumbline_contract.base import short_hash
from plumbline_operator.model.meta import GROUP, MANAGED_BY, MANAGED_VALUE, OWNER_KIND, OWNER_NAME, Manifest, controller
from plumbline_operator.model.names import label_value

APPLIED = f"{GROUP}/applied"  # annotation: short hash of the manifest last applied
POD_MAKERS = frozenset({"Job", "Deployment"})  # their pods carry our labels too, so that a pod can wake its owner


class Standing(Enum):
    """Whose a live object of a child's name is."""

    OURS = auto()
    LEAVING = auto()  # ours, or our namesake's, on its way out: wait until it is gone
    FOREIGN = auto()


class NameTaken(Exception):
    """An object of a child's name exists and is not ours; nothing was overwritten."""

    def __init__(self, kind: str, name: str, holder: str) -> None:
        super().__init__(
            f"{kind} {name} already exists and belongs to {holder}. Nothing was overwritten. "
            f"Delete or rename that {kind}, or rename this object."
        )


def complete(manifest: Manifest, owner: Manifest) -> Manifest:
    """The manifest with namespace, owner, labels and the hash of what the room decided.

    A resourceVersion stays, but is no part of what was decided: it says what the decision was made on.
    """
    child = copy.deepcopy(manifest)
    meta = child["metadata"]
    as_read = meta.pop("resourceVersion", None)
    labels = owner_labels(owner)
    meta["namespace"] = owner["metadata"]["namespace"]
    meta.setdefault("ownerReferences", [owner_reference(owner)])
    meta["labels"] = labels | meta.get("labels", {})
    if child["kind"] in POD_MAKERS:
        template = child["spec"]["template"].setdefault("metadata", {})
        template["labels"] = labels | template.get("labels", {})
    meta["annotations"] = meta.get("annotations", {}) | {APPLIED: short_hash(child)}
    if as_read is not None:
        meta["resourceVersion"] = as_read
    return child


def owner_labels(owner: Mapping[str, Any]) -> dict[str, str]:
    """The labels by which a child wakes its owner."""
    name = label_value(owner["metadata"]["name"])
    return {MANAGED_BY: MANAGED_VALUE, OWNER_KIND: owner["kind"], OWNER_NAME: name}


def owner_reference(owner: Mapping[str, Any]) -> Manifest:
    """The controller reference to one of our objects; deleting it deletes the child."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def standing(live: Manifest, child: Manifest) -> Standing:
    """Whose the live object is, seen from the completed manifest of ours that has its name."""
    ours, theirs = controller(child), controller(live)
    if theirs is None:
        labels = child["metadata"]["labels"]
        same = all(live["metadata"].get("labels", {}).get(k) == labels[k] for k in (MANAGED_BY, OWNER_KIND, OWNER_NAME))
        owned = same
    else:
        owned = ours is not None and (theirs["kind"], theirs["name"]) == (ours["kind"], ours["name"])
    if not owned:
        return Standing.FOREIGN
    reborn = theirs is not None and ours is not None and theirs["uid"] != ours["uid"]
    return Standing.LEAVING if reborn or live["metadata"].get("deletionTimestamp") else Standing.OURS


def holder(live: Mapping[str, Any]) -> str:
    """Whom a foreign object belongs to, in words."""
    owner = controller(live)
    if owner is not None:
        return f"{owner['kind']} {owner['name']}"
    return str(live["metadata"].get("labels", {}).get(MANAGED_BY, "somebody who left no owner reference"))
