"""Which change comes next: the same for the same seed, kind, chain and step."""

from __future__ import annotations

import copy
import random
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.breaks import breaks
from tests.fuzz.goods import Spec, World
from tests.fuzz.scripts import GOLDEN_SNAPSHOT, ITSELF, Sort
from tests.fuzz.sites import Schema, Site, Way, at, published, put, sites, without, words
from tests.fuzz.subjects import Subject
from tests.fuzz.values import drawn, values

# In percent. What an API server cannot know is drawn more often than its part of all the invalid changes there are,
# which is below two in a hundred.
SHARES = {Sort.SCHEMA: 48, Sort.RULE: 22, Sort.MEANING: 3, Sort.VALID: 17, Sort.DANGLING: 10}
POOL = 12  # values drawn of a field at once
CHAINS_PER_POOL = 4
REFERENCES = ("Ref", "dataset", "version")  # ends of the names of fields that hold a reference


@dataclass(frozen=True, slots=True)
class Change:
    """A spec that differs from the last good one in one respect. `says`: what the answer or status must contain."""

    sort: Sort
    what: str
    way: str
    spec: Spec
    says: str = ""
    name: str = ""


@dataclass(slots=True)
class Changes:
    """The changes of one kind. `world` may be filled in later, before the first is asked for."""

    subject: Subject
    seed: int
    world: World
    whole: Schema = field(init=False)
    schema: Schema = field(init=False)
    _pools: dict[tuple[str, int], list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.whole = published(self.subject.kind.ref.plural)
        self.schema = self.whole["properties"]["spec"]

    def good(self, chain: int) -> Spec:
        """The good spec a chain begins and ends with."""
        return self.subject.good(self.world, chain)

    def next(self, chain: int, step: int, present: Spec, name: str) -> Change:
        """The change of one step, made to `present`, the last good spec of the object of this name."""
        dice = random.Random(f"{self.seed} {self.subject.kind.kind} {chain} {step}")
        sort = dice.choices(list(SHARES), list(SHARES.values()))[0]
        match sort:
            case Sort.SCHEMA:
                return self._broken(dice, present)
            case Sort.RULE:
                return self._scripted({Sort.RULE, Sort.FROZEN}, chain, step, name) or self._broken(dice, present)
            case Sort.MEANING:
                return self._scripted({Sort.MEANING}, chain, step, name) or self._broken(dice, present)
            case Sort.DANGLING:
                return self._dangling(dice, chain) or self._broken(dice, present)
        return self._drawn(dice, chain, present)

    def _broken(self, dice: random.Random, present: Spec) -> Change:
        places = [one for one in sites(self.schema, present) if not (one.key and not one.present)]
        while True:
            site = dice.choice(places)
            found = list(breaks(site, present))
            if found:
                what, spec = dice.choice(found)
                return Change(Sort.SCHEMA, what, words(site.way), spec)

    def _scripted(self, sorts: Collection[Sort], chain: int, step: int, name: str) -> Change | None:
        """The scripts of a kind in turn, so that all of them come up in a long run."""
        listed = [one for one in self.subject.scripts(chain) if one.sort in sorts]
        if not listed:
            return None
        one = listed[(chain * 7 + step) % len(listed)]
        way = one.way if one.way.startswith("metadata") else f"spec.{one.way}".rstrip(".")
        spec = self._filled(one.change(self.good(chain)), name)
        return Change(one.sort, one.says, way, spec, one.says, one.name)

    def _drawn(self, dice: random.Random, chain: int, present: Spec) -> Change:
        """Another value that the schema allows, or an optional field left out."""
        places = list(sites(self.schema, present))
        optional = [one for one in places if one.present and not one.required and isinstance(one.way[-1], str)]
        if optional and dice.random() < 0.2:
            site = dice.choice(optional)
            return Change(Sort.VALID, "left out", words(site.way), without(present, site.way))
        site = dice.choice(places)
        value = dice.choice(self._values(site, chain // CHAINS_PER_POOL))
        return Change(Sort.VALID, "drawn", words(site.way), put(present, site.way, value))

    def _dangling(self, dice: random.Random, chain: int) -> Change | None:
        present = self.good(chain)
        found = [way for way in references(self.schema, present) if not self.subject.unread & {str(way[-2])}]
        if not found:
            return None
        way = dice.choice(found)
        nobody = f"nobody-{dice.randrange(10**6)}"
        return Change(Sort.DANGLING, f"names {nobody}", words(way), put(present, way, nobody), nobody)

    def _values(self, site: Site, pool: int) -> list[Any]:
        """Values of a field, drawn once for some chains."""
        place = ".".join(str(step) for step in site.way if isinstance(step, str))
        number = zlib.crc32(f"{self.seed} {pool} {place}".encode())
        key = (place, number)
        if key not in self._pools:
            self._pools[key] = drawn(values(_bounded(site.schema, place, self.subject.most)), POOL, number)
        return self._pools[key]

    def _filled(self, value: Any, name: str) -> Any:
        """The value with the stand-ins replaced by what they stand for."""
        if isinstance(value, dict):
            return {key: self._filled(one, name) for key, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one, name) for one in value]
        stands = {ITSELF: name, GOLDEN_SNAPSHOT: self.world.snapshots.get("golden", ("", ""))[0]}
        return stands.get(value, value) if isinstance(value, str) else value


def references(schema: Schema, spec: Spec) -> list[Way]:
    """Where the names of other objects stand. Secrets are none: only the kubelet looks for them."""
    ways = [one.way for one in sites(schema, spec) if one.present and len(one.way) > 1 and one.way[-1] == "name"]
    holders = [way for way in ways if isinstance(way[-2], str) and way[-2].endswith(REFERENCES)]
    return [way for way in holders if way[-2] != "secretRef" and isinstance(at(spec, way), str)]


def _bounded(schema: Schema, place: str, most: Mapping[str, int]) -> Schema:
    """The schema with lower maxima where the test bed asks for them; defaults stay."""
    for end, limit in most.items():
        if place.endswith(end):
            return schema | {"maximum": limit}
    if "properties" not in schema:
        return schema
    bounded = copy.copy(schema)
    bounded["properties"] = {name: _bounded(one, f"{place}.{name}", most) for name, one in schema["properties"].items()}
    return bounded
