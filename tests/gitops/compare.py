"""What is live, held against what is in Git."""

from __future__ import annotations


def unlike(wanted: object, live: object, path: str) -> list[str]:
    """Where live differs from wanted. A map may have more, which is what the API server fills in; a list may not."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [line for name, part in wanted.items() for line in unlike(part, live.get(name), f"{path}.{name}")]
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        pairs = enumerate(zip(wanted, live, strict=True))
        return [line for place, (one, other) in pairs for line in unlike(one, other, f"{path}[{place}]")]
    return [] if wanted == live else [f"{path} is {live!r} instead of {wanted!r}"]
