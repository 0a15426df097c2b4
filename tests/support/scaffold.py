"""Makes the room of a new kind: `python -m tests.support.scaffold FeatureView`, or `make room NAME=featureview`.

The room has an empty plan that already obeys the laws. What is generated from the rooms is written anew, and every
list of all our kinds in the chart and the CRDs' kustomization gets the new one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template

from plumbline_operator.rooms import ROOMS

ROOMS_FOLDER = Path("operator/src/plumbline_operator/rooms")
TESTS_FOLDER = Path("tests/rooms")
CHART_FOLDER = Path("charts/plumbline/templates")
CRDS_FOLDER = Path("crds")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{1,39}")  # 63 characters of a DNS label, less a plural and a group's dot
SHORT_LETTERS = 6
DECIDED_APART = frozenset({"datasetsnapshots", "modelversions", "approvals"})  # who writes these is a matter of its own

API = '''"""$kind: what it is, in one line."""

from enum import StrEnum

from pydantic import Field

from plumbline_operator.model.kind import Explained, Kind, Resource, Status
from plumbline_operator.model.meta import Model
from plumbline_operator.model.reasons import explained


class ${kind}Spec(Model):
    """What a user asks for."""

    description: str = Field(default="", max_length=1024, description="What it is for, in words.")


class ${kind}Status(Status):
    """What became of it."""


class Reason(StrEnum):
    """Why a $kind is Ready, or is not."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


REASONS: dict[StrEnum, Explained] = {
    Reason.ACCEPTED: Explained("Its spec is understood and there is nothing to do yet.", "Nothing."),
    **explained(Reason),
}


class ${kind}(Resource[${kind}Spec, ${kind}Status]):
    """A $kind as read."""

    status: ${kind}Status = ${kind}Status()


KIND = Kind(
    kind="$kind",
    plural="$plural",
    short="$short",
    description="What it is, in one line.",
    resource=$kind,
    spec=${kind}Spec,
    status=${kind}Status,
    reasons=REASONS,
)
'''

PLAN = '''"""$kind: what to do about one, given everything observed and the time."""

from dataclasses import dataclass
from datetime import datetime

from plumbline_operator.model.attempts import conditions_for, written
from plumbline_operator.model.plan import Plan
from plumbline_operator.rooms.$room.api import $imported


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything the plan may look at."""

    own: $kind


def plan(seen: Observed, now: datetime) -> Plan:
    """The next step; the first unmet question decides."""
    meta, status = seen.own.metadata, seen.own.status
    conditions = conditions_for(meta, status, now).ready(Reason.ACCEPTED, "There is nothing to do.")
    return Plan(status=written(status, conditions))
'''

HANDLERS = '''"""$kind: what is read, and who wakes it."""

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.$room.api import KIND, $kind
from plumbline_operator.rooms.$room.plan import Observed, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(own: $kind, sight: Sight) -> Observed:
    """Nothing beyond the object itself."""
    del sight
    return Observed(own)


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """The objects whose change must wake this one: none."""
    del raw
    return ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
'''

TEST_LAWS = '''"""The laws of every room, in worlds of $kind."""

from plumbline_operator.rooms.$room.api import KIND
from plumbline_operator.rooms.$room.handlers import ROOM
from tests.support.laws import check_laws
from tests.support.worlds import World, raw, ready_of, settle

FRESH = World("nobody has looked at it yet", raw(KIND, "first", {"description": "An example."}))


async def test_the_laws_hold() -> None:
    await check_laws(ROOM, [FRESH])


async def test_it_is_accepted() -> None:
    own = await settle(ROOM, FRESH, FRESH.kube())
    assert ready_of(own) == ("True", "Accepted")
'''

TEST_API = '''"""$kind: what its schema takes and refuses."""

import pytest
from pydantic import ValidationError

from plumbline_operator.rooms.$room.api import ${kind}Spec


def test_everything_has_a_default() -> None:
    assert ${kind}Spec.model_validate({}).description == ""


def test_an_endless_description_is_refused() -> None:
    with pytest.raises(ValidationError, match="description"):
        ${kind}Spec(description="x" * 1025)
'''


class CannotScaffold(Exception):
    """The room cannot be made; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Every name of a new kind, from the one that was given: `featureview`, or `FeatureView` for a better one."""

    given: str

    @property
    def kind(self) -> str:
        """The kind: as given, with a capital."""
        return self.given[0].upper() + self.given[1:]

    @property
    def room(self) -> str:
        """The folder."""
        return self.given.lower()

    @property
    def plural(self) -> str:
        """What the API server calls its objects; `kube.refs.ref_of` expects the same."""
        return f"{self.room}s"

    @property
    def short(self) -> str:
        """A short name for kubectl: the consonants."""
        return (self.room[0] + re.sub("[aeiou]", "", self.room[1:]))[:SHORT_LETTERS]

    @property
    def constant(self) -> str:
        """The name of its ROOM in the list of all."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.kind).upper()


def scaffold(root: Path, given: str) -> list[Path]:
    """Make the room in the tree at `root` and enter it everywhere; returns the new files, relative to it.

    Raises CannotScaffold when the name is not usable or taken; then nothing was written.
    """
    naming = Naming(given)
    _check(root, naming)
    texts = _texts(naming)
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    present = _plurals()
    _enter_in_rooms(root / ROOMS_FOLDER / "__init__.py", naming)
    _enter_in_kustomization(root / CRDS_FOLDER / "kustomization.yaml", naming)
    for template in sorted((root / CHART_FOLDER).glob("*.yaml")):
        template.write_text(with_kind(template.read_text(), present, naming.plural))
    for module in ("crdgen", "refgen"):
        _generate(root, module)
    return list(texts)


def with_kind(text: str, present: list[str], plural: str) -> str:
    """A chart's template in which every list of all our kinds, their statuses or those people write has one more."""
    editable = [one for one in present if one not in DECIDED_APART]
    for kinds, suffix in ((present, ""), (present, "/status"), (editable, "")):
        whole = ", ".join(f"{one}{suffix}" for one in kinds)
        text = text.replace(f"[{whole}]", f"[{whole}, {plural}{suffix}]")
    return text


def _check(root: Path, naming: Naming) -> None:
    if not NAME.fullmatch(naming.given):
        raise CannotScaffold(f"{naming.given!r} is no name for a kind: 2 to 40 letters and digits, such as FeatureView")
    if (root / ROOMS_FOLDER / naming.room).exists():
        raise CannotScaffold(f"{ROOMS_FOLDER / naming.room} exists already; choose another name, or edit it")
    taken = {room.kind.short for room in ROOMS} | {room.kind.kind.lower() for room in ROOMS}
    for name in (naming.room, naming.short):
        if name in taken:
            raise CannotScaffold(f"{name} is the name or short name of a kind already; choose another name")


def _texts(naming: Naming) -> dict[Path, str]:
    code, tests = ROOMS_FOLDER / naming.room, TESTS_FOLDER / naming.room
    templates = {
        code / "__init__.py": f'"""{naming.kind}: what it is, in one line."""\n',
        code / "api.py": API,
        code / "plan.py": PLAN,
        code / "handlers.py": HANDLERS,
        tests / "__init__.py": f'"""Tests of {naming.kind}."""\n',
        tests / "test_laws.py": TEST_LAWS,
        tests / "test_api.py": TEST_API,
    }
    words = {"kind": naming.kind, "room": naming.room, "plural": naming.plural, "short": naming.short}
    words["imported"] = ", ".join(sorted((naming.kind, "Reason"), key=str.lower))
    return {path: Template(text).substitute(words) for path, text in templates.items()}


def _enter_in_rooms(path: Path, naming: Naming) -> None:
    """One import, in order, and one entry, at the end."""
    lines = path.read_text().splitlines()
    imports = [line for line in lines if line.startswith("from plumbline_operator.rooms.")]
    first = lines.index(imports[0])
    new = f"from plumbline_operator.rooms.{naming.room}.handlers import ROOM as {naming.constant}"
    lines[first : first + len(imports)] = sorted([*imports, new])
    last = len(lines) - 1 - lines[::-1].index(")")
    lines.insert(last, f"    {naming.constant},")
    path.write_text("\n".join(lines) + "\n")


def _enter_in_kustomization(path: Path, naming: Naming) -> None:
    lines = path.read_text().splitlines()
    start = lines.index("resources:") + 1
    path.write_text("\n".join(lines[:start] + sorted([*lines[start:], _crd_line(naming)])) + "\n")


def _crd_line(naming: Naming) -> str:
    return f"  - plumbline.dev_{naming.plural}.yaml"


def _plurals() -> list[str]:
    return [room.kind.plural for room in ROOMS]


def _generate(root: Path, module: str) -> None:
    """Write what a generator of *that* tree says, in a process of its own: this one knows the old rooms."""
    paths = [str(root / "operator/src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run(
        [sys.executable, "-m", f"plumbline_operator.{module}", "write"], cwd=root, env=environment, check=True
    )


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: make room NAME=featureview\n")
        return 2
    try:
        made = scaffold(Path.cwd(), arguments[0])
    except CannotScaffold as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"wrote {path}\n" for path in made))
    sys.stdout.write("Now edit api.py, then `make generate` and `make unit`.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
