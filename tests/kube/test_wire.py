"""What is sent to be applied is JSON and YAML at once, whatever users write."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.kube.wire import as_yaml


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_read_the_same_by_both(text: str) -> None:
    sent = as_yaml({"message": text}).decode()
    assert json.loads(sent) == {"message": text}
    assert yaml.load(sent, Loader=yaml.CSafeLoader) == {"message": text}


def test_what_json_alone_would_write_is_no_yaml() -> None:
    sent = as_yaml({"comment": "looked at it \N{ABACUS}, \x85 and \\ud83e"})
    assert "\N{ABACUS}".encode() in sent
    assert b"\\u0085" in sent
    assert b"\\\\ud83e" in sent
