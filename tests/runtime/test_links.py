"""Links wake dependents, and nobody else."""

from plumbline_operator.model.meta import Key
from plumbline_operator.runtime.links import Links

RUN, OTHER = Key("TrainingRun", "n", "a"), Key("TrainingRun", "n", "b")
DATA, MODEL = Key("Dataset", "n", "d"), Key("RegisteredModel", "n", "m")


def test_a_change_wakes_everybody_who_depends_on_it() -> None:
    links = Links()
    links.replace(RUN, [DATA, MODEL])
    links.replace(OTHER, [DATA])
    assert links.dependents(DATA) == (RUN, OTHER)
    assert links.dependents(MODEL) == (RUN,)


def test_new_needs_replace_the_old_ones() -> None:
    links = Links()
    links.replace(RUN, [DATA])
    links.replace(RUN, [MODEL])
    assert links.dependents(DATA) == ()
    assert links.dependents(MODEL) == (RUN,)


def test_who_is_gone_is_woken_no_more() -> None:
    links = Links()
    links.replace(RUN, [DATA])
    links.replace(RUN, [])
    assert links.dependents(DATA) == ()
