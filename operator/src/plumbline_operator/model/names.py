"""Computed names. A name is a function of its inputs, so creating twice is the same apply."""

from typing import Any

from plumbline_contract.base import short_hash

LIMIT = 63  # characters: DNS-1123 label, RFC 1123; Services, Pods' hostnames and label values share it


def child_name(owner: str, *parts: str, inputs: Any = None, limit: int = LIMIT) -> str:
    """`<owner>-<parts…>-<hash8 of inputs>`, at most `limit` characters.

    A long owner name is cut, and then the hash also covers the full owner name, so two long owners never share a
    child's name. Dots become dashes: an object name may have dots, a Service's may not.
    """
    tail = [*parts]
    if inputs is not None:
        tail.append(short_hash(inputs))
    name = "-".join([owner.replace(".", "-"), *tail])
    if len(name) <= limit and "." not in owner:
        return name
    tail = [*parts, short_hash({"owner": owner, "inputs": inputs})]
    suffix = "-".join(tail)
    return f"{owner.replace('.', '-')[: limit - len(suffix) - 1].rstrip('-')}-{suffix}"


def label_value(name: str) -> str:
    """An object's name as a label value: itself, or shortened with a hash when longer than 63 characters."""
    if len(name) <= LIMIT:
        return name
    return f"{name[: LIMIT - 9].rstrip('-.')}-{short_hash(name)}"
