"""Every bad table and every bad run is refused with a reason and words that say what to mend; nothing of it is kept."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plumbline_contract.manifest import CodeRef, SnapshotRef
from plumbline_contract.runspec import Collect, Fetch, ForeignKey, Owner, UniqueKey
from plumbline_jobs import collect, fetch, ingest
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.packing import unpacked
from tests.jobs.lake import Lake, column, manifest_of
from tests.jobs.repository import Repository, git_daemon
from tests.jobs.test_csv import zipped
from tests.modelgate.models import linear
from tests.proof.goals import is_whole, seconds
from tests.proof.ledger import record

GOAL = "bad-input-data"
pytestmark = pytest.mark.timeout(seconds(GOAL))

OWNER = Owner(namespace="team", kind="TrainingRun", name="run", uid="uid-3", job="run-train-1")
A, B = column("a"), column("b", "String", nullable=True)
LATE = 200_000  # the row with the wrong cell
CLIMBS = 1_000
LONG_LINE = (2 << 30) if is_whole() else (64 << 20)  # bytes
MOST_MEMORY = 512 << 20  # bytes a Job may take to refuse a line of any length


@dataclass(frozen=True, slots=True)
class Case:
    """One bad input: how it is met, and the reason and words of the refusal."""

    name: str
    meet: Callable[[Lake, Path], Any]
    reason: str
    words: str


def table(text: bytes | str, **changes: Any) -> Callable[[Lake, Path], Any]:
    """An ingest of this table into the columns a and b."""
    return lambda lake, folder: lake.ingest(text, changes.pop("columns", [A, B]), **changes)


def many(bad: str) -> str:
    """A table whose row 200,000 is this."""
    return "\n".join(["a,b", *(f"{n},x" for n in range(1, LATE)), bad, "7,y", ""])


def swelling(compression: str) -> Callable[[Lake, Path], Any]:
    """A table that is a thousand times as long as it is when packed."""

    def meet(lake: Lake, folder: Path) -> Any:
        text = b"a,b\n" + (b"1," + b"y" * 60_000 + b"\n") * 1_200
        packed = gzip.compress(text) if compression == "Gzip" else zipped(("t", text))
        return lake.ingest(packed, [A, B], compression=compression)

    return meet


def orphans(lake: Lake, folder: Path) -> Any:
    """Rows that refer to planes nobody knows."""
    known = manifest_of(lake.ingest("tail\nN1\n", [column("tail", "String")], key="planes.csv"))
    key = ForeignKey(
        name="known", column="b", referenced_column="tail", maximum_orphans=0, snapshot=known, dataset="planes"
    )
    before = lake.objects()
    try:
        return lake.ingest("a,b\n1,N1\n2,N9\n", [A, B], tests=(key,))
    finally:
        assert lake.objects() == before
        lake.clear()


def trained(**files: str | bytes) -> Callable[[Lake, Path], Any]:
    """A run that ended with 0 and left these files; `metrics` stands for metrics.json, `model` for model.onnx."""

    def meet(lake: Lake, folder: Path) -> Any:
        (folder / "out").mkdir(parents=True)
        for name, data in files.items():
            path = folder / "out" / {"metrics": "metrics.json", "model": "model.onnx"}[name]
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return collect.run(
            Collect(owner=OWNER, storage=lake.storage, author="a", attempt=1, image="i", command=("train",))
        )

    return meet


def no_commit(lake: Lake, folder: Path) -> Any:
    """Code at a commit that nobody has pushed."""
    folder.mkdir()
    repository = Repository(folder)
    repository.commit({"run.py": "one"})
    repository.publish()
    with git_daemon(repository.served) as url:
        code = CodeRef(url=f"{url}/code.git", commit="d" * 40)
        return fetch.run(Fetch(owner=OWNER, storage=lake.storage, snapshots=(), code=code))


def no_bucket(lake: Lake, folder: Path) -> Any:
    """A source bucket that does not exist."""
    spec = lake.spec([A, B])
    return ingest.run(spec.model_copy(update={"source": lake.source.model_copy(update={"bucket": "nobody-has-it"})}))


REPEATED = (UniqueKey(name="once", columns=("a",)),)
GOOD = linear().SerializeToString()
CASES = (
    Case("missing bucket", no_bucket, "SourceNotFound", "nobody-has-it"),
    Case("missing object", lambda lake, _: ingest.run(lake.spec([A, B])), "SourceNotFound", "has no object"),
    Case("empty object", table(b""), "SourceUnreadable", "it is empty"),
    Case("ragged row", table("a,b\n1,x\n2,y,z\n"), "SourceUnreadable", "row 2 "),
    Case("ragged row 200,000", table(many("1,2,3")), "SourceUnreadable", "row 200000 "),
    Case("wrong type in row 200,000", table(many("many,x")), "SchemaMismatch", "row 200000, column `a`: 'many' is not"),
    Case("undeclared column", table("a,b,c\n1,x,2\n"), "SchemaMismatch", "`c`"),
    Case("missing column", table("a\n1\n"), "SchemaMismatch", "`b`"),
    Case("null where none may be", table("a,b\n,x\n"), "SchemaMismatch", "row 1"),
    Case("duplicate keys", table("a,b\n1,x\n1,y\n", tests=REPEATED), "TestFailed", "once"),
    Case("orphan keys", orphans, "TestFailed", "dataset planes"),
    Case(
        "truncated gzip", table(gzip.compress(b"a,b\n1,x\n" * 99)[:-9], compression="Gzip"), "SourceUnreadable", "Gzip"
    ),
    Case("no gzip at all", table("a,b\n1,x\n", compression="Gzip"), "SourceUnreadable", "is not a whole Gzip file"),
    Case("truncated zip", table(zipped(("t", b"a,b\n"))[:-9], compression="Zip"), "SourceUnreadable", "whole Zip file"),
    Case(
        "two files in a zip", table(zipped(("a", b""), ("b", b"")), compression="Zip"), "SourceUnreadable", "2 members"
    ),
    Case("zip bomb", swelling("Zip"), "SourceUnreadable", "looks like a decompression bomb"),
    Case("gzip bomb", swelling("Gzip"), "SourceUnreadable", "looks like a decompression bomb"),
    Case("bytes that are no text", table(b"a,b\n1,\xff\n"), "SourceUnreadable", "line 2 is not UTF-8"),
    Case("no end of a quote", table('a,b\n1,"x\n'), "SourceUnreadable", "odd"),
    Case("two columns of one name", table("a,a\n1,2\n"), "SchemaMismatch", "two columns named `a`"),
    Case("commit that does not exist", no_commit, "DataUnavailable", f"has no commit {'d' * 40}"),
    Case("exit 0 without output", trained(), "UserCode", "left nothing"),
    Case("NaN metric", trained(metrics='{"metrics": {"auc": NaN}}', model=GOOD), "UserCode", "not a finite number"),
    Case("metrics that are no JSON", trained(metrics="{", model=GOOD), "UserCode", "metrics.json"),
    Case("pickle in the model's place", trained(model=b"\x80\x04cposix\nsystem\n."), "ModelFileRefused", "model.onnx"),
)


WELCOME = {
    "byte order mark": b"\xef\xbb\xbfa,b\n1,x\n",
    "mixed line ends": b"a,b\r\n1,x\n",
    "no line end at the end": b"a,b\n1,x",
}


def fresh(lake: Lake, number: int) -> Lake:
    """Another empty bucket."""
    return Lake(lake.s3, lake.storage.endpoint, f"{lake.name}-{number}")


def told(case: Case, lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is wrong with how one case ended; empty when all is well."""
    monkeypatch.setenv("PLUMBLINE_ROOT", str(folder))
    try:
        case.meet(lake, folder)
    except Refused as error:
        print(f"{case.name}: {error.reason}: {error.message}")
        wrong = "" if (error.reason, case.words in error.message) == (case.reason, True) else f"says {error.message}"
        return wrong or ("left something in the bucket" if lake.objects() else "")
    return "was taken"


def test_bad_input_is_refused_with_words_and_nothing_is_kept(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: dict[str, str] = {}
    for number, case in enumerate(CASES):
        text = told(case, fresh(lake, number), tmp_path / str(number), monkeypatch)
        wrong |= {case.name: text} if text else {}
    record(GOAL, runs=len(CASES), bad=len(wrong), figure=f"{len(CASES)} kinds of bad input refused by name")
    assert wrong == {}


@pytest.mark.parametrize("name", WELCOME)
def test_what_only_looks_bad_is_read(lake: Lake, name: str) -> None:
    assert lake.rows(manifest_of(lake.ingest(WELCOME[name], [A, B]))).rows() == [(1, "x")]


def test_a_line_as_long_as_the_file_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write(b"a,b\n1,")
        for _ in range(LONG_LINE >> 20):
            file.write(b"y" * (1 << 20))
        file.write(b"\n")
    peak, words = ingested_apart(path)
    good = peak <= MOST_MEMORY
    figure = f"a line of {LONG_LINE >> 20} MiB refused with {peak >> 20} MiB of memory"
    record(GOAL, runs=1, bad=int(not good), figure=figure)
    path.unlink()
    assert "line 2 is longer than" in words
    assert good, figure


READER = """
import re, sys
from pathlib import Path
from plumbline_jobs.ending import leave
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.delimited import Dialect, batches, header_of
path = Path(sys.argv[1])
try:
    dialect = Dialect("None", ",", ("",))
    for batch in batches(path, header_of(path, dialect), ["a", "b"], dialect):
        pass
    print("taken")
except Refused as error:
    print(error.message)
# Not getrusage(): on Linux that also counts what the process held that began this one.
print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
leave(0)
"""


def ingested_apart(path: Path) -> tuple[int, str]:
    """The most memory that a process of its own took to read this table, in bytes, and what it said."""
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *words, peak = done.stdout.splitlines()
    return int(peak) << 10, " ".join(words)


def climbing() -> list[str]:
    """Names that lead out of a folder for somebody who resolves them, 1,000 different ones."""
    ups = ("..", "../..", "a/../..", "./..", "a/b/../../..", "..\\\\..", "a\\\\..\\\\..", ".//..", "../.", "a/./../..")
    ends = ("etc/passwd", "x", "x.csv", "..", ".ssh/authorized_keys", "\0", "ü", "a b", "-rf", "%2e%2e/x", "con")
    starts = ("", "/", "raw/", "raw/../", "//", "C:/", "./", "~/", "file:///", "\\\\\\\\host/")
    found = sorted({f"{start}{up}/{end}" for start in starts for up in ups for end in ends})
    assert len(found) >= CLIMBS
    return found[:CLIMBS]


def places_outside(folder: Path) -> set[Path]:
    """Every file below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name that its writer chose becomes a path, and the reason and words that refuse one that climbs."""

    meet: Callable[[Lake, Path, str], object]
    reason: str
    words: str


def as_key(lake: Lake, folder: Path, name: str) -> object:
    """An ingest of the object of this key."""
    return ingest.run(lake.spec([A, B], key=name))


def as_member(lake: Lake, folder: Path, name: str) -> object:
    """An archive with a member of this name; no archive can hold a zero byte in it."""
    packed = folder / "packed.zip"
    packed.write_bytes(zipped((name.replace("\0", ""), b"a,b\n")))
    with unpacked(packed, "Zip"):
        return packed.unlink()


def as_input(lake: Lake, folder: Path, name: str) -> object:
    """A run with an input of this name."""
    snapshot = SnapshotRef(input=name, dataset="d", snapshot="s", digest="sha256:" + "0" * 64)
    return fetch.run(Fetch(owner=OWNER, storage=lake.storage, snapshots=(snapshot,)))


PLACES = {
    "object key": Place(as_key, "SourceNotFound", "climbs out of the connection's prefix; correct spec.source.key"),
    "archive member": Place(as_member, "SourceUnreadable", "its name climbs out of the archive"),
    "run input": Place(as_input, "DataUnavailable", "is no name of a folder; correct spec.inputs"),
}


def let_in(place: Place, lake: Lake, folder: Path, name: str) -> str:
    """What became of a name that was not refused for climbing; empty when it was."""
    try:
        place.meet(lake, folder, name)
    except Refused as error:
        return "" if error.reason == place.reason and place.words in error.message else error.message
    return "was taken"


def test_names_that_climb_write_nothing_outside(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, folder = tmp_path / "a" / "b" / "plumbline", tmp_path / "archives"
    root.mkdir(parents=True)
    folder.mkdir()
    monkeypatch.setenv("PLUMBLINE_ROOT", str(root))
    tried = [(title, name) for title in PLACES for name in climbing()]
    wrong = {one: told for one in tried if (told := let_in(PLACES[one[0]], lake, folder, one[1]))}
    outside = places_outside(tmp_path) - {folder / "packed.zip"}
    figure = f"{CLIMBS} climbing names in {len(PLACES)} places refused for climbing, {len(outside)} files outside"
    record(GOAL, runs=len(tried), bad=len(wrong) + len(outside), figure=figure)
    assert wrong == {}
    assert outside == set()


@pytest.mark.parametrize("title", PLACES)
def test_a_name_that_stays_is_not_refused_for_climbing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    monkeypatch.setenv("PLUMBLINE_ROOT", str(tmp_path / "plumbline"))
    assert let_in(PLACES[title], lake, tmp_path, "table.csv") != ""
