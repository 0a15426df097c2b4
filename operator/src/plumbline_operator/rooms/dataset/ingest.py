"""Turns a Dataset's declaration into the document of its ingest Job, and the Job's answer into status. Pure."""

from collections.abc import Mapping

from plumbline_contract import runspec
from plumbline_contract.report import Report
from plumbline_contract.runspec import Bucket, ColumnRule, Ingest, Owner
from plumbline_operator.model.meta import GROUP, VERSION, Manifest, plain
from plumbline_operator.model.names import child_name
from plumbline_operator.rooms.dataset.api import DatasetResource, DatasetSpec, DataTest, LatestSnapshot, TestResult
from plumbline_operator.rooms.datasetsnapshot.api import DatasetSnapshotSpec, StoredColumn

SOURCE_ENV = "SOURCE"  # prefix of the variables with the credentials of the source bucket


def ingest_document(
    dataset: DatasetResource, storage: Bucket, source: Bucket, targets: Mapping[str, LatestSnapshot], job: str
) -> Ingest:
    """What the ingest Job is asked to do. `targets`: the snapshots that foreign keys refer to, by Dataset."""
    spec, meta = dataset.spec, dataset.metadata
    return Ingest(
        owner=Owner(namespace=meta.namespace, kind="Dataset", name=meta.name, uid=meta.uid, job=job),
        storage=storage,
        source=source,
        key=spec.source.key,
        format=spec.source.format,
        compression=spec.source.compression,
        delimiter=spec.source.delimiter,
        null_values=spec.source.null_values,
        unknown_columns=spec.unknown_columns,
        columns=tuple(
            ColumnRule.model_validate(column.model_dump(exclude={"description"}, by_alias=False))
            for column in spec.columns
        ),
        tests=tuple(data_test(test, targets) for test in spec.tests),
        event_time=spec.event_time.column if spec.event_time else None,
    )


def inputs_of(document: Ingest) -> object:
    """What of the document decides the result: everything but on whose behalf it is done."""
    return document.model_dump(mode="json", exclude={"owner"}, exclude_none=True)


def data_test(test: DataTest, targets: Mapping[str, LatestSnapshot]) -> runspec.DataTest:
    """One test in the words of the Job. Raises ValueError when none is set, which the CRD refuses."""
    one = test.row_count
    if one is not None:
        return runspec.RowCount(name=test.name, minimum=one.minimum, maximum=one.maximum)
    if test.null_share is not None:
        return runspec.NullShare(name=test.name, column=test.null_share.column, maximum=test.null_share.maximum)
    if test.unique_key is not None:
        return runspec.UniqueKey(name=test.name, columns=test.unique_key.columns)
    return _column_test(test, targets)


def _column_test(test: DataTest, targets: Mapping[str, LatestSnapshot]) -> runspec.DataTest:
    if test.range is not None:
        bounds = test.range
        return runspec.ValueRange(name=test.name, column=bounds.column, minimum=bounds.minimum, maximum=bounds.maximum)
    if test.allowed_set is not None:
        return runspec.AllowedSet(name=test.name, column=test.allowed_set.column, values=test.allowed_set.values)
    if test.regex is not None:
        return runspec.Regex(name=test.name, column=test.regex.column, pattern=test.regex.pattern)
    if test.foreign_key is None:
        raise ValueError(f"test {test.name} sets none of the tests there are")
    key = test.foreign_key
    return runspec.ForeignKey(
        name=test.name,
        column=key.column,
        snapshot=targets[key.dataset.name].digest,
        dataset=key.dataset.name,
        referenced_column=key.referenced_column,
        maximum_orphans=key.max_orphans,
    )


def stored_by(report: Report) -> LatestSnapshot | None:
    """What a Job says it has stored, not named yet, or None when it does not tell its digests."""
    manifest, profile = report.digests.get("manifest"), report.digests.get("profile")
    if manifest is None or profile is None:
        return None
    return LatestSnapshot(
        name="",
        digest=manifest,
        profile=profile,
        rows=int(report.numbers.get("rows", 0)),
        bytes=int(report.numbers.get("bytes", 0)),
        first_event=report.words.get("firstEvent", ""),
        last_event=report.words.get("lastEvent", ""),
    )


def named(spec: DatasetSpec, dataset: str, cut: LatestSnapshot) -> LatestSnapshot:
    """The same under the name of its object.

    The name covers everything the object says for ever: the same bytes by another Connection are another snapshot.
    """
    return cut.model_copy(update={"name": child_name(dataset, inputs=plain(_sealed(spec, dataset, cut)))})


def results_from(report: Report) -> tuple[TestResult, ...]:
    """The verdicts of a Job, values cut to six significant digits so that a status reads well and stays equal."""
    return tuple(
        TestResult(
            name=verdict.name,
            verdict=verdict.verdict,
            value=None if verdict.value is None else float(f"{verdict.value:.6g}"),
            bound=verdict.bound,
            message=verdict.message[:256],
        )
        for verdict in report.verdicts
    )


def snapshot_child(spec: DatasetSpec, dataset: str, cut: LatestSnapshot) -> Manifest:
    """The DatasetSnapshot of what was cut; the same bytes always give the same object."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DatasetSnapshot",
        "metadata": {"name": cut.name},
        "spec": plain(_sealed(spec, dataset, cut)),
    }


def _sealed(spec: DatasetSpec, dataset: str, cut: LatestSnapshot) -> DatasetSnapshotSpec:
    kept = [column for column in spec.columns if column.handling != "Drop"]
    return DatasetSnapshotSpec(
        dataset_ref={"name": dataset},
        storage_ref=spec.storage_ref,
        manifest=cut.digest,
        profile=cut.profile,
        rows=cut.rows,
        bytes=cut.bytes,
        event_time=spec.event_time.column if spec.event_time else "",
        first_event=cut.first_event,
        last_event=cut.last_event,
        columns=tuple(StoredColumn(name=c.name, type=c.type, pii=c.pii, handling=c.handling) for c in kept),
        dropped=tuple(column.name for column in spec.columns if column.handling == "Drop"),
    )
