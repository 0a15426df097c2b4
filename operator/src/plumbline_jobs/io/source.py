"""Opens a source table, whatever its format, as frames of the declared columns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline_contract.runspec import ColumnRule, Ingest
from plumbline_jobs.errors import Refused
from plumbline_jobs.io import columnar, delimited
from plumbline_jobs.io.cells import typed
from plumbline_jobs.io.delimited import Batch, Dialect


@dataclass(frozen=True, slots=True)
class Source:
    """A source table: the columns it has, and its declared columns as typed batches."""

    names: tuple[str, ...]
    batches: Callable[[Sequence[ColumnRule]], Iterator[Batch]]


def open_source(spec: Ingest, path: Path, scratch: Path) -> Source:
    """The table in `path` as the spec describes it. Raises Refused when it cannot be one."""
    if spec.format == "Parquet":
        plain = columnar.plain_file(path, spec.compression, scratch)
        return Source(columnar.names_of(plain), lambda rules: columnar.batches(plain, rules, spec.null_values))
    dialect = Dialect(spec.compression, _delimiter(spec.delimiter), spec.null_values)
    names = delimited.header_of(path, dialect)
    return Source(names, lambda rules: _text(path, names, rules, dialect))


def _text(path: Path, names: Sequence[str], rules: Sequence[ColumnRule], dialect: Dialect) -> Iterator[Batch]:
    for batch in delimited.batches(path, names, [rule.name for rule in rules], dialect):
        yield Batch(batch.first, typed(batch, rules))


def _delimiter(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise Refused("SourceUnreadable", f"the delimiter {text!r} is not one ASCII character; write one, such as ','")
    return text
