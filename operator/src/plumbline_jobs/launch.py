"""The script that becomes the training command.

It runs in the user's image, so it relies on a POSIX shell and nothing else; what it cannot find it leaves out. Notes go
to /plumbline/out/.plumbline, from where `collect` reads them.
"""

PACKAGES, HARDWARE = "packages.json", "hardware.tsv"

LAUNCH = """#!/bin/sh
# Notes what this training runs on, then becomes the training command.
notes="${PLUMBLINE_OUT:-/plumbline/out}/.plumbline"
mkdir -p "$notes"
python=$(command -v python3 || command -v python || true)
if [ -n "$python" ]; then
  "$python" - "$notes/packages.json" <<'END' 2>/dev/null || true
import importlib.metadata as metadata, json, platform, sys
found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
json.dump({"python": platform.python_version(), **dict(sorted(found.items()))}, open(sys.argv[1], "w"))
END
fi
note() { printf '%s\\t%s\\n' "$1" "$2" >> "$notes/hardware.tsv"; }
: > "$notes/hardware.tsv"
note machine "$(uname -m 2>/dev/null)"
note kernel "$(uname -r 2>/dev/null)"
note cpus "$(nproc 2>/dev/null)"
note cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)"
note memory "$(sed -n 's/^MemTotal: *//p' /proc/meminfo 2>/dev/null)"
if command -v nvidia-smi >/dev/null 2>&1; then
  note gpu "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)"
fi
exec "$@"
"""
