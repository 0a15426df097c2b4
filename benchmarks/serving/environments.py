"""Virtual environments of their own: the rivals' pins conflict with ours and with each other."""

import hashlib
import os
import subprocess
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "environments"


def cache() -> Path:
    """Where environments and the model are kept between runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return root / "plumbline" / "benchmarks"


def python_of(name: str) -> Path:
    """The Python of the environment `environments/<name>.txt`, made now when its pins have changed."""
    requirements = REQUIREMENTS / f"{name}.txt"
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache() / f"{name}-{key}"
    done = folder / "complete"
    if not done.exists():
        print(f"making the environment {name} ({folder})", flush=True)
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", "3.11", folder], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", folder / "bin" / "python", "-r", requirements]
        subprocess.run(install, check=True)
        done.touch()
    return folder / "bin" / "python"


def model_file() -> Path:
    """The benchmark's model, trained once."""
    source = Path(__file__).parent / "make_model.py"
    key = hashlib.sha256(source.read_bytes() + (REQUIREMENTS / "model.txt").read_bytes()).hexdigest()[:12]
    target = cache() / f"model-{key}.onnx"
    if not target.exists():
        python = python_of("model")
        print("training the model", flush=True)
        draft = target.with_suffix(".part")
        subprocess.run([python, source, draft], check=True)
        draft.rename(target)
    return target
