"""Manifests as bytes for server-side apply, whose bodies the API server reads as YAML."""

import json
import re

from plumbline_operator.model.meta import Manifest

# Characters that YAML 1.2 (section 5.1) does not call printable, or takes for the end of a line.
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def as_yaml(manifest: Manifest) -> bytes:
    """The manifest as JSON that is YAML, too.

    JSON with every other character escaped is not: it writes what lies beyond the first 65,536 characters, an emoji
    for example, as two escapes, neither of which is a character to a YAML reader.
    """
    text = json.dumps(manifest, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
