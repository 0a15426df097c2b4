"""Writes the health scripts by which Argo CD reads our kinds, one in Lua per kind, and all of them as one patch.

`python -m plumbline_operator.healthgen write` writes them, `verify` prints the difference and ends with 1 if there is
one.

They lie in the chart's folder, so that whoever pulls a version of the chart has the scripts of that version; the chart
does not install them, because the ConfigMap `argocd-cm` belongs to whoever runs Argo CD.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from plumbline_operator.generated import difference, store
from plumbline_operator.model.kind import Kind
from plumbline_operator.model.meta import GROUP
from plumbline_operator.rooms import ROOMS

FOLDER = Path("charts/plumbline/gitops")
PATCH = FOLDER / "argocd-cm.yaml"
HEADER = "Generated from operator/src/plumbline_operator/rooms by `make generate`"

# Argo CD calls it with the live object in `obj` and without Lua's string library.
SCRIPT = """\
-- Health of a {kind}. {header}.
local waiting = {{status = "Progressing", message = "Plumbline has not looked at this state of the spec yet."}}
local status = obj.status
if status == nil or status.conditions == nil then
  return waiting
end
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return waiting
end

local found = {{}}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local function is_true(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end
local function health(state, condition)
  return {{status = state, message = condition.reason .. ": " .. condition.message}}
end

if is_true("Stalled") then
  return health("Degraded", found.Stalled)
end
if found.Ready == nil then
  return waiting
end
if is_true("Ready") then
{healthy}end
{paused}return health("Progressing", found.Ready)
"""
ALARM = """\
  if is_true("{alarm}") then
    return health("Healthy", found.{alarm})
  end
"""
PAUSED = """\
-- Nothing is under way: somebody has to decide first.
local paused = {{{reasons}}}
if paused[found.Ready.reason] then
  return health("Suspended", found.Ready)
end
"""


def script(kind: Kind) -> str:
    """The Lua script of one kind."""
    alarms = "".join(ALARM.format(alarm=alarm) for alarm in kind.alarms)
    reasons = ", ".join(f"{reason} = true" for reason in kind.paused)
    return SCRIPT.format(
        kind=kind.kind,
        header=HEADER,
        healthy=f'{alarms}  return health("Healthy", found.Ready)\n',
        paused=PAUSED.format(reasons=reasons) if reasons else "",
    )


def settings(kinds: Iterable[Kind]) -> Mapping[str, str]:
    """The keys that `argocd-cm` needs: the name of each setting → its script."""
    return {f"resource.customizations.health.{GROUP}_{kind.kind}": script(kind) for kind in kinds}


def files(kinds: Iterable[Kind]) -> Mapping[Path, str]:
    """Path below the repository root → text, of everything this module generates."""
    kinds = list(kinds)
    scripts = {FOLDER / "health" / f"{kind.kind}.lua": script(kind) for kind in kinds}
    return {**scripts, PATCH: _patch(kinds)}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    wanted = files([room.kind for room in ROOMS])
    folders = [FOLDER, FOLDER / "health"]
    match arguments:
        case ["write"]:
            return store(Path.cwd(), folders, wanted, "*.*")
        case ["verify"]:
            return difference(Path.cwd(), folders, wanted, "*.*")
        case _:
            sys.stderr.write("usage: python -m plumbline_operator.healthgen write|verify\n")
            return 2


def _patch(kinds: Iterable[Kind]) -> str:
    """A patch of Argo CD's ConfigMap, which leaves every other key as it is."""
    head = f"# {HEADER}.\n# kubectl -n argocd patch configmap argocd-cm --patch-file argocd-cm.yaml\n"
    labels = {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"}
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "labels": labels},
        "data": dict(settings(kinds)),
    }
    return head + yaml.dump(body, Dumper=_Readable, sort_keys=False, width=120)


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
