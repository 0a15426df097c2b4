"""ONNX Runtime, watched."""

from __future__ import annotations

import onnxruntime
import pytest


def watch_runtime(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every file that it is asked to open from now on, until the test ends."""
    files: list[bytes] = []
    real = onnxruntime.InferenceSession

    def session(data: bytes, *given: object, **named: object) -> object:
        files.append(data)
        return real(data, *given, **named)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return files
