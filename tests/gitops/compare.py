"""What is live, held against what is in Git."""

from __future__ import annotations


def unlike(wanted: object, live: object, path: str) -> list[str]:
    """Where live differs from wanted. A map may have more, which is what the API server fills in; a list may not."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [line for name, part in wanted.items() for line in unlike(part, live.get(name), f"{path}.{name}")]
    return [] if wanted == live else [f"{path} is {live!r} instead of {wanted!r}"]
