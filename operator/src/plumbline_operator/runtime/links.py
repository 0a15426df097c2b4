"""Who must be woken when something changes. Memory only wakes; it never decides."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from plumbline_operator.model.meta import Key


@dataclass(slots=True)
class Links:
    """A map from an object to those that depend on it, rebuilt from what is heard of each dependent."""

    _needs: dict[Key, frozenset[Key]] = field(default_factory=dict)
    _wakes: dict[Key, set[Key]] = field(default_factory=lambda: defaultdict(set))

    def replace(self, dependent: Key, needs: Iterable[Key]) -> None:
        """`dependent` now depends on exactly these; nothing, when it is gone."""
        wanted, before = frozenset(needs), self._needs.get(dependent, frozenset())
        for key in before - wanted:
            self._wakes[key].discard(dependent)
            if not self._wakes[key]:
                del self._wakes[key]
        for key in wanted - before:
            self._wakes[key].add(dependent)
        if wanted:
            self._needs[dependent] = wanted
        else:
            self._needs.pop(dependent, None)

    def dependents(self, key: Key) -> tuple[Key, ...]:
        """Everybody who depends on `key`, sorted."""
        return tuple(sorted(self._wakes.get(key, ())))
