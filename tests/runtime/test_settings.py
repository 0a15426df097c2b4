"""Settings come from the environment and say what is wrong with it."""

import pytest

from plumbline_operator.settings import BadSettings, read_settings

IMAGES = {f"PLUMBLINE_{name}_IMAGE": f"{name.lower()}:1" for name in ("JOBS", "SERVING", "ROUTER")}


def test_defaults_watch_the_whole_cluster() -> None:
    settings = read_settings(IMAGES)
    assert settings.watched == ()
    assert settings.images.serving == "serving:1"


def test_namespaces_are_separated_by_commas() -> None:
    assert read_settings(IMAGES | {"PLUMBLINE_NAMESPACES": "a, b,"}).watched == ("a", "b")


def test_every_wrong_variable_is_named() -> None:
    with pytest.raises(BadSettings, match=r"PLUMBLINE_JOBS_IMAGE.*PLUMBLINE_WORKERS") as caught:
        read_settings({k: v for k, v in IMAGES.items() if "JOBS" not in k} | {"PLUMBLINE_WORKERS": "0"})
    assert "SERVING" not in str(caught.value)
