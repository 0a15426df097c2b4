"""What a training run finds on its disk, and when it never starts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_contract import layout
from plumbline_contract.manifest import CodeRef, SnapshotColumn, SnapshotRef
from plumbline_contract.report import Outcome
from plumbline_contract.runspec import Fetch, Owner, Split, Window
from plumbline_jobs import fetch
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from tests.jobs.lake import PREFIX, Lake, publish
from tests.jobs.repository import Repository, git_daemon

OWNER = Owner(namespace="team", kind="TrainingRun", name="run", uid="uid-2", job="run-train-1")
COLUMNS = (SnapshotColumn(name="id", type="Int64"), SnapshotColumn(name="at", type="Timestamp"))
START = datetime(2013, 1, 1, tzinfo=UTC)
DAYS = 60


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the steps of a run share."""
    monkeypatch.setenv("PLUMBLINE_ROOT", str(tmp_path / "plumbline"))
    return tmp_path / "plumbline"


def days() -> list[pl.DataFrame]:
    """A row per day in three files of unequal size; the last row has no time."""
    moments = [*(START + timedelta(days=day) for day in range(DAYS - 1)), None]
    frame = pl.DataFrame({"id": range(DAYS), "at": pl.Series(moments, dtype=pl.Datetime("us", "UTC"))})
    return [frame[:11], frame[11:12], frame[12:]]


def fetched(lake: Lake, digest: str, split: Split | None = None, **changes: Any) -> Answer:
    """The answer of a fetch of one snapshot as the input `flights`."""
    snapshot = SnapshotRef(input="flights", dataset="flights", snapshot="flights-1", digest=digest)
    given = {"owner": OWNER, "storage": lake.storage, "snapshots": (snapshot,), "split": split} | changes
    return fetch.run(Fetch(**given))


def ids(root: Path, part: str) -> list[int]:
    """The rows of a part, as training code would read them."""
    files = sorted((root / "in" / "flights" / part).glob("*.parquet"))
    return [row for file in files for row in pl.read_parquet(file)["id"].to_list()]


def test_an_input_without_split_lies_whole_and_in_order_in_all(lake: Lake, root: Path) -> None:
    answer = fetched(lake, publish(lake, days(), COLUMNS))
    assert ids(root, "all") == list(range(DAYS))
    assert (answer.report.outcome, answer.report.numbers) == (Outcome.DONE, {"rows.flights.all": DAYS})
    assert {path.suffix for path in (root / "in" / "flights").rglob("*") if path.is_file()} == {".parquet"}


def test_a_window_has_its_first_moment_and_not_its_last(lake: Lake, root: Path) -> None:
    middle = START + timedelta(days=30)
    windows = {"train": Window(until=middle), "validation": Window(since=middle, until=START + timedelta(days=40))}
    answer = fetched(lake, publish(lake, days(), COLUMNS, "at"), Split(input="flights", windows=windows))
    assert ids(root, "train") == list(range(30))
    assert ids(root, "validation") == list(range(30, 40))
    assert answer.report.numbers == {"rows.flights.train": 30, "rows.flights.validation": 10}


def test_adjoining_windows_are_disjoint_and_hold_every_row_with_a_time(lake: Lake, root: Path) -> None:
    digest = publish(lake, days(), COLUMNS, "at")

    @settings(max_examples=10)
    @given(st.lists(st.integers(1, DAYS - 2), min_size=1, max_size=4, unique=True))
    def holds(cuts: list[int]) -> None:
        ends = [None, *(START + timedelta(days=cut) for cut in sorted(cuts)), None]
        windows = {f"p{n}": Window(since=ends[n], until=ends[n + 1]) for n in range(len(ends) - 1)}
        fetched(lake, digest, Split(input="flights", windows=windows))
        assert [row for part in windows for row in ids(root, part)] == list(range(DAYS - 1))

    holds()


SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}


def drawn(lake: Lake, root: Path, digest: str, seed: int) -> dict[str, list[int]]:
    """The rows of each part of a shuffled split."""
    fetched(lake, digest, Split(input="flights", shares=SHARES, seed=seed))
    return {part: ids(root, part) for part in SHARES}


def test_shuffled_parts_are_disjoint_complete_and_about_their_share(lake: Lake, root: Path) -> None:
    frame = pl.DataFrame({"id": range(5000), "at": pl.Series([None] * 5000, dtype=pl.Datetime("us", "UTC"))})
    found = drawn(lake, root, publish(lake, [frame[:3000], frame[3000:]], COLUMNS), 7)
    assert sorted(row for rows in found.values() for row in rows) == list(range(5000))
    for part, share in SHARES.items():
        assert abs(len(found[part]) - 5000 * share) < 4 * (5000 * share * (1 - share)) ** 0.5


def test_a_seed_draws_the_same_rows_again_and_another_seed_others(lake: Lake, root: Path) -> None:
    digest = publish(lake, days(), COLUMNS)
    first, again, other = (drawn(lake, root, digest, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_an_empty_part_is_refused_with_the_span_of_the_data(lake: Lake, root: Path) -> None:
    windows = {"train": Window(until=START + timedelta(days=9)), "late": Window(since=START + timedelta(days=9999))}
    with pytest.raises(Refused) as caught:
        fetched(lake, publish(lake, days(), COLUMNS, "at"), Split(input="flights", windows=windows))
    assert caught.value.reason == "DataUnavailable"
    assert "part 'late' of input 'flights' has no rows" in caught.value.message
    assert "correct spec.split.parts" in caught.value.message


def test_a_window_over_data_without_event_time_is_refused(lake: Lake, root: Path) -> None:
    windows = {"train": Window(until=START)}
    with pytest.raises(Refused, match=r"declares no event time.*set spec\.eventTime\.column"):
        fetched(lake, publish(lake, days(), COLUMNS), Split(input="flights", windows=windows))


def test_a_split_of_an_input_that_there_is_not_is_refused(lake: Lake, root: Path) -> None:
    split = Split(input="planes", windows={"train": Window(until=START)})
    with pytest.raises(Refused, match=r"spec\.split\.input is 'planes'.*flights"):
        fetched(lake, publish(lake, days(), COLUMNS, "at"), split)


def test_one_flipped_bit_of_a_file_is_refused_and_the_file_is_not_left(lake: Lake, root: Path) -> None:
    digest = publish(lake, days(), COLUMNS)
    broken = lake.snapshot(digest).files[1].digest
    lake.flip(broken)
    with pytest.raises(Refused) as caught:
        fetched(lake, digest)
    assert caught.value.reason == "DataUnavailable"
    assert layout.blob(PREFIX, broken) in caught.value.message
    assert "it was changed after it was written" in caught.value.message
    left = [path.name for path in (root / "in" / "flights").rglob("*") if path.is_file()]
    assert left == ["00000.parquet"]


def test_a_flipped_or_missing_or_wrong_manifest_is_refused(lake: Lake, root: Path) -> None:
    digest = publish(lake, days(), COLUMNS)
    profile = lake.snapshot(digest).profile
    with pytest.raises(Refused, match="is not a SnapshotManifest"):
        fetched(lake, profile)
    with pytest.raises(Refused, match="has no object"):
        fetched(lake, "sha256:" + "0" * 64)
    lake.flip(digest)
    with pytest.raises(Refused) as caught:
        fetched(lake, digest)
    assert caught.value.reason == "DataUnavailable"
    assert digest in caught.value.message


def test_parameters_and_seeds_lie_beside_the_data(lake: Lake, root: Path) -> None:
    fetched(lake, publish(lake, days(), COLUMNS), parameters={"rate": "0.1", "é": "x"}, seeds={"numpy": 7})
    assert json.loads((root / "in" / "parameters.json").read_text()) == {"rate": "0.1", "é": "x"}
    assert json.loads((root / "in" / "seeds.json").read_text()) == {"numpy": 7}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with two commits."""
    repository = Repository(tmp_path)
    repository.commit({"train/run.py": "one"})
    return repository


@pytest.fixture
def url(tmp_path: Path, repository: Repository) -> Iterator[str]:
    """A git server on loopback."""
    with git_daemon(repository.served) as url:
        yield f"{url}/code.git"


def test_the_code_is_that_of_the_commit_and_not_of_the_branch(
    lake: Lake, root: Path, repository: Repository, url: str
) -> None:
    commit = repository.commit({"train/run.py": "two"})
    repository.commit({"train/run.py": "three"})
    repository.publish()
    fetched(lake, publish(lake, days(), COLUMNS), code=CodeRef(url=url, commit=commit, path="train"))
    assert (root / "code" / "train" / "run.py").read_text() == "two"


def test_a_commit_that_is_not_there_is_refused_by_name(
    lake: Lake, root: Path, repository: Repository, url: str
) -> None:
    repository.publish()
    with pytest.raises(Refused) as caught:
        fetched(lake, publish(lake, days(), COLUMNS), code=CodeRef(url=url, commit="d" * 40))
    assert caught.value.reason == "DataUnavailable"
    assert "has no commit " + "d" * 40 in caught.value.message


@pytest.mark.parametrize("path", ["nowhere", "train/run.py", "../in", "/"])
def test_a_folder_that_is_not_in_the_code_is_refused(
    lake: Lake, root: Path, repository: Repository, url: str, path: str
) -> None:
    commit = repository.commit({"train/run.py": "two"})
    repository.publish()
    with pytest.raises(Refused) as caught:
        fetched(lake, publish(lake, days(), COLUMNS), code=CodeRef(url=url, commit=commit, path=path))
    assert caught.value.reason == "DataUnavailable"
    assert repr(path) in caught.value.message


def launched(lake: Lake, root: Path, *command: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """A command behind the launcher, run by the shell as in a training image."""
    fetched(lake, publish(lake, days(), COLUMNS))
    script = root / "in" / ".plumbline" / "launch"
    given = {"PATH": path, "PLUMBLINE_OUT": str(root / "out")}
    assert os.access(script, os.X_OK)
    return subprocess.run((str(script), *command), env=given, capture_output=True, text=True, timeout=60)


def test_the_launcher_becomes_the_command_with_its_words_output_and_status(lake: Lake, root: Path) -> None:
    done = launched(lake, root, "/bin/sh", "-c", 'echo "[$1] $$"; exit 37', "sh", "two  words; $HOME")
    assert done.returncode == 37
    assert done.stdout.startswith("[two  words; $HOME] ")
    assert done.stderr == ""


def test_the_launcher_notes_packages_and_hardware(lake: Lake, root: Path) -> None:
    assert launched(lake, root, "true").returncode == 0
    notes = root / "out" / ".plumbline"
    packages = json.loads((notes / "packages.json").read_text())
    assert packages["python"].startswith("3.")
    hardware = dict(line.split("\t") for line in (notes / "hardware.tsv").read_text().splitlines())
    assert hardware["machine"] == os.uname().machine
    assert int(hardware["cpus"]) >= 1
    assert hardware["memory"].endswith("kB")


def test_the_launcher_needs_nothing_but_a_shell(lake: Lake, root: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "mkdir").symlink_to("/bin/mkdir")
    done = launched(lake, root, "/bin/sh", "-c", "exit 5", path=str(bare))
    assert (done.returncode, done.stdout) == (5, "")
    assert not (root / "out" / ".plumbline" / "packages.json").exists()


def test_a_command_that_is_not_there_ends_with_the_shells_own_status(lake: Lake, root: Path) -> None:
    assert launched(lake, root, "/no/such/command").returncode == 127
