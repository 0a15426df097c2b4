"""The prediction log: what is in it, what must not be, and what is counted when it is not there."""

import hmac
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plumbline_contract.layout import hash_key
from plumbline_contract.prediction import FIXED_COLUMNS, parse_prediction_id, prediction_id
from plumbline_serving.errors import StorageTrouble
from plumbline_serving.log import Pace, PredictionLog
from plumbline_serving.metrics import Metrics
from plumbline_serving.place import Place
from plumbline_serving.record import Columns, Record
from plumbline_serving.redaction import Side
from plumbline_serving.segment import table_of
from plumbline_serving.tensors import TensorSpec
from tests.serving import models
from tests.serving.bucket import NAME, PREFIX, Bucket
from tests.serving.processes import rows, serving, until
from tests.serving.records import pending
from tests.serving.test_protocol import every_input

X = TensorSpec("X", "FP32", (-1, 3))
CITY = TensorSpec("city", "BYTES", (-1, 1))
P = TensorSpec("probability", "FP32", (-1, 1))
HOUR = 3_600_000
COLUMNS = Columns("v", "sha256:d", Side((X,), frozenset()), Side((P,), frozenset()))


class Sink:
    """Storage in memory that can be made to fail or to stand still."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failing = 0
        self.calls = 0
        self.open = threading.Event()
        self.open.set()

    def put(self, key: str, data: bytes) -> None:
        self.calls += 1
        assert self.open.wait(30)
        if self.failing:
            self.failing -= 1
            raise StorageTrouble("no")
        assert key not in self.objects, "a segment was overwritten"
        self.objects[key] = data

    def rows(self) -> list[dict[str, Any]]:
        tables = [pq.read_table(pa.BufferReader(data)) for _, data in sorted(self.objects.items())]
        return [row for table in tables for row in table.to_pylist()]


def record(number: int, rows: int = 1, milliseconds: int = 1_700_000_000_000) -> Record:
    inputs = (np.full((rows, 3), number, dtype=np.float32),)
    outputs = (np.full((rows, 1), number / 10, dtype=np.float32),)
    return Record(milliseconds, prediction_id(milliseconds, f"r{number}"), "primary", "", rows, inputs, outputs)


def made(*records: Record) -> pa.Table:
    (segment,) = pending(records, COLUMNS)
    return table_of(segment, COLUMNS)


class Bench:
    """A log with its sink and its counters."""

    def __init__(self, queue_rows: int = 100, flush_seconds: float = 0.01) -> None:
        self.sink, self.metrics = Sink(), Metrics("v", "m", "d")
        place = Place(prefix="p", namespace="demo", deployment="fraud", variant="v", writer="pod-1")
        self.log = PredictionLog(
            self.sink,
            place,
            COLUMNS,
            self.metrics,
            flush_seconds=flush_seconds,
            queue_rows=queue_rows,
            backoff_seconds=0.01,
        )

    def accounted(self) -> bool:
        """Whether every queued row has been written or counted as lost."""
        lost = self.metrics.log_dropped["storage"] + self.metrics.log_dropped["encoding"]
        return self.metrics.log_queued == self.metrics.log_written + lost


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.log.start()
    yield made
    made.sink.open.set()
    made.log.close(5)


def test_a_full_queue_drops_and_counts_and_never_waits(bench: Bench) -> None:
    bench.sink.open.clear()  # storage stands still
    bench.log.append(record(0))
    until(lambda: bench.sink.calls == 1, "the writer is stuck in storage", 5)
    started = time.monotonic()
    for number in range(1, 1001):
        bench.log.append(record(number))
    assert time.monotonic() - started < 1.0
    assert bench.metrics.log_queued == 100
    assert bench.metrics.log_dropped["queue_full"] == 901
    bench.sink.open.set()
    until(bench.accounted, "all queued rows are written", 5)
    assert [row["request_id"] for row in bench.sink.rows()] == [f"r{number}" for number in range(100)]
    bench.log.append(record(2000))
    until(lambda: bench.metrics.log_written == 101, "the log goes on", 5)


def test_what_came_during_a_write_waits_for_company() -> None:
    bench = Bench(queue_rows=100, flush_seconds=1000)
    bench.log.start()
    bench.sink.open.clear()
    for number in range(60):
        bench.log.append(record(number))
    until(lambda: bench.sink.calls == 1, "more than half a queue is being written", 5)
    bench.log.append(record(60))
    bench.sink.open.set()
    until(lambda: bench.metrics.log_written >= 51, "it is written", 5)
    for number in range(61, 121):
        bench.log.append(record(number))
    until(lambda: bench.metrics.log_segments == 2, "half a queue is written again", 5)
    bench.log.close(5)
    sizes = [pq.read_metadata(pa.BufferReader(data)).num_rows for _, data in sorted(bench.sink.objects.items())]
    assert all(size > 50 for size in sizes[:2]), sizes


def test_storage_that_fails_for_a_moment_loses_nothing(bench: Bench) -> None:
    bench.sink.failing = 3
    bench.log.append(record(1, rows=4))
    until(lambda: bench.metrics.log_written == 4, "the segment is written at the fourth try", 5)
    assert bench.metrics.log_dropped["storage"] == 0


def test_storage_that_stays_away_fills_the_queue_and_loses_only_what_does_not_fit(bench: Bench) -> None:
    bench.sink.failing = 30
    bench.log.append(record(1, rows=60))
    until(lambda: bench.sink.calls > 8, "the segment is tried again and again", 5)
    bench.log.append(record(2, rows=60))
    bench.log.append(record(3, rows=40))
    bench.sink.failing = 0
    until(lambda: bench.metrics.log_written == 100, "what was queued is written", 20)
    assert bench.metrics.log_dropped == {"queue_full": 60, "storage": 0, "shape": 0, "encoding": 0, "killed": 0}


def test_storage_that_fails_while_the_log_closes_is_tried_until_it_comes_back() -> None:
    bench = Bench(flush_seconds=1000)
    bench.log.start()
    bench.log.append(record(1, rows=4))
    bench.sink.failing = 3
    assert bench.log.close(20) == 0
    assert (bench.metrics.log_written, bench.sink.calls) == (4, 4)


def test_rows_that_storage_never_took_are_counted_when_the_log_has_closed() -> None:
    bench = Bench(flush_seconds=1000)
    bench.log.start()
    bench.sink.failing = 10**9
    bench.log.append(record(1, rows=4))
    assert bench.log.close(1) == 4
    assert bench.metrics.log_dropped["storage"] == 4


def test_wide_records_fill_the_queue_by_their_bytes(bench: Bench) -> None:
    bench.sink.open.clear()
    bench.log.append(record(0))
    until(lambda: bench.sink.calls == 1, "the writer is stuck in storage", 5)
    for number in range(1, 20):
        bench.log.append(record(number)._replace(size=16 * 2**20))
    assert bench.metrics.log_dropped["queue_full"] == 14  # five of 16 MiB: the one that crosses the bound is taken
    bench.sink.open.set()
    until(bench.accounted, "all queued rows are written", 5)
    assert len(bench.sink.objects) == 6  # one record each, being as large as a segment may be


def test_the_pace_leaves_time_to_write_what_came_just_after_a_flush_began() -> None:
    pace = Pace(8.0)
    assert pace.pause == 4.0
    for _ in range(50):
        pace.took(0.1)
    assert pace.pause == pytest.approx(8 - 0.1 - 0.2)  # begun 7.8 s after the last one, done after 7.9 s
    pace.took(0)
    assert pace.pause == pytest.approx(8 - 0.2)
    pace.took(1.0)
    assert pace.pause == pytest.approx(8 - 1 - 2)
    pace.took(6.0)
    assert pace.pause == 0.0


def test_a_batch_that_cannot_be_encoded_is_counted_and_the_log_goes_on(bench: Bench) -> None:
    bench.log.append(record(1)._replace(outputs=(np.array([["\ud800"]], dtype=np.object_),)))
    until(lambda: bench.metrics.log_dropped["encoding"] == 1, "the batch is given up", 5)
    bench.log.append(record(2))
    until(lambda: bench.metrics.log_written == 1, "later segments are written", 5)


def test_close_writes_what_is_queued() -> None:
    bench = Bench(flush_seconds=1000)
    bench.log.start()
    for number in range(5):
        bench.log.append(record(number))
    bench.log.close(5)
    assert bench.metrics.log_written == 5


def test_records_lie_in_the_hour_of_their_prediction() -> None:
    bench = Bench(flush_seconds=1000)
    hour = 1_700_000_000_000 // HOUR
    bench.log.append(record(1, milliseconds=hour * HOUR + HOUR - 1))
    bench.log.append(record(2, milliseconds=(hour + 1) * HOUR))
    bench.log.start()
    bench.log.close(5)
    assert sorted(key.rsplit("/", 1)[0] for key in bench.sink.objects) == [
        "p/predictions/demo/fraud/v/2023-11-14/22",
        "p/predictions/demo/fraud/v/2023-11-14/23",
    ]


def test_rows_are_numbered_inside_their_request_and_wide_inputs_are_lists() -> None:
    table = made(record(1, rows=2), record(2, rows=3))
    found = [(row["request_id"], row["row"], row["in.X"], row["out.probability"]) for row in table.to_pylist()]
    assert [(name, number) for name, number, _, _ in found] == [("r1", 0), ("r1", 1), ("r2", 0), ("r2", 1), ("r2", 2)]
    assert found[4][2] == [2.0, 2.0, 2.0]
    assert found[0][3] == pytest.approx(0.1)


def test_the_fixed_columns_are_the_contracts() -> None:
    table = made(record(1))
    found = {field.name: str(field.type) for field in table.schema}
    renamed = {name: kind.replace("[ms, UTC]", "[ms, tz=UTC]") for name, kind in FIXED_COLUMNS.items()}
    assert {name: found[name] for name in FIXED_COLUMNS} == renamed
    assert list(found)[len(FIXED_COLUMNS) :] == ["in.X", "out.probability"]


def test_outputs_whose_width_changes_between_requests_stay_lists_of_their_own_length() -> None:
    wide = record(1)._replace(outputs=(np.array([[1.0, 2.0]], dtype=np.float32),))
    table = made(wide, record(2, rows=2))
    assert [row["out.probability"] for row in table.to_pylist()] == [
        [1.0, 2.0],
        [pytest.approx(0.2)],
        [pytest.approx(0.2)],
    ]


def test_a_request_without_rows_leaves_none_and_does_not_shift_those_of_others() -> None:
    table = made(record(1, rows=0), record(2, rows=2))
    assert [(row["request_id"], row["in.X"][0]) for row in table.to_pylist()] == [("r2", 2.0), ("r2", 2.0)]
    assert [name.rpartition("-")[2] for name in table.column("prediction_id").to_pylist()] == ["r2", "r2"]


def test_every_record_is_written_once_while_the_log_takes_others() -> None:
    bench = Bench(queue_rows=10**6, flush_seconds=0.002)
    bench.log.start()
    count = 20_000
    for number in range(count):
        bench.log.append(record(number))
    assert bench.log.close(20) == 0
    assert bench.metrics.log_segments > 1
    found = {row["request_id"]: row["in.X"][0] for row in bench.sink.rows()}
    assert bench.metrics.log_written == len(found) == count
    assert all(name == f"r{value:.0f}" for name, value in found.items())


def test_a_servers_answers_are_in_the_bucket_after_it_stopped(bucket: Bucket, tmp_path: Path) -> None:
    manifest = bucket.put_model(models.logistic())
    settings = bucket.settings(manifest, variant="fraud-v-log", log_flush_seconds=1000.0)
    with serving(settings, tmp_path) as served:
        caller = served.caller()
        first = caller.infer(rows((1, 2, 3), (4, 5, 6)), headers={"x-request-id": "one", "x-plumbline-unit": "ada"})
        caller.infer(rows((7, 8, 9)), headers={"x-request-id": "two", "x-plumbline-role": "shadow"})
        caller.infer(b"nonsense")
        caller.close()
        served.process.send(signal.SIGTERM)
        assert served.process.wait() == 0, served.process.text()
    found = bucket.predictions("fraud-v-log").to_pylist()
    assert [(row["request_id"], row["row"], row["role"]) for row in found] == [
        ("one", 0, "primary"),
        ("one", 1, "primary"),
        ("two", 0, "shadow"),
    ]
    assert found[0]["prediction_id"] == first.headers["x-plumbline-prediction-id"]
    assert found[0]["time"] == parse_prediction_id(found[0]["prediction_id"])[0]
    assert found[1]["in.X"] == [4.0, 5.0, 6.0]
    assert [row["out.probability"] for row in found[:2]] == pytest.approx(first.json["outputs"][0]["data"], abs=1e-7)
    key = bucket.s3.get_object(Bucket=NAME, Key=hash_key(PREFIX))["Body"].read()
    assert found[0]["unit"] == hmac.digest(key, b"ada", "sha256").hex()
    assert found[2]["unit"] == ""
    (segment,) = bucket.segments("fraud-v-log")
    hour = found[0]["time"].strftime("%Y-%m-%d/%H")
    assert segment.startswith(f"{PREFIX}/predictions/demo/fraud/fraud-v-log/{hour}/")


def test_personal_inputs_are_dropped_or_hashed_and_nowhere_in_the_segment(bucket: Bucket, tmp_path: Path) -> None:
    manifest = bucket.put_model(models.every_type(given_back={"flag"}))
    settings = bucket.settings(
        manifest, variant="fraud-v-pii", log_flush_seconds=0.05, redact={"city": "Hash", "price": "Drop"}
    )
    with serving(settings, tmp_path, environment={"PLUMBLINE_HASH_KEY": "secret"}) as served:
        caller = served.caller()
        assert caller.infer(every_input(city="Lovelace-Street-7", price=123.5)).status == 200
        caller.close()
        until(lambda: bucket.segments("fraud-v-pii"), "a segment in the bucket", 10)
    (row,) = bucket.predictions("fraud-v-pii").to_pylist()
    assert row["in.city"] == hmac.digest(b"secret", b"Lovelace-Street-7", "sha256").hex()
    assert "in.price" not in row
    assert not {"Lovelace-Street-7", 123.5} & set(row.values())
    assert row["in.count"] == -(2**63)


def test_an_output_that_repeats_a_redacted_input_is_redacted_alike(bucket: Bucket, tmp_path: Path) -> None:
    manifest = bucket.put_model(models.every_type(given_back={"flag", "city", "price"}))
    settings = bucket.settings(manifest, variant="fraud-v-repeats", redact={"city": "Hash", "price": "Drop"})
    with serving(settings, tmp_path, environment={"PLUMBLINE_HASH_KEY": "secret"}) as served:
        caller = served.caller()
        answer = caller.infer(every_input(city="Lovelace-Street-7", price=123.5))
        caller.close()
    assert "Lovelace-Street-7" in answer.body.decode(), "the caller gets what the model gives"
    (row,) = bucket.predictions("fraud-v-repeats").to_pylist()
    assert row["out.city_out"] == row["in.city"] == hmac.digest(b"secret", b"Lovelace-Street-7", "sha256").hex()
    assert "out.price_out" not in row
    assert "out.flag_out" in row


def test_a_restarted_container_does_not_overwrite_its_segments(bucket: Bucket, tmp_path: Path) -> None:
    settings = bucket.settings(bucket.put_model(models.logistic()), variant="fraud-v-again")
    for name in ("before", "after"):
        with serving(settings, tmp_path, environment={"HOSTNAME": "same-pod"}) as served:
            caller = served.caller()
            caller.infer(rows((1, 2, 3)), headers={"x-request-id": name})
            caller.close()
    found = bucket.predictions("fraud-v-again").to_pylist()
    assert sorted(row["request_id"] for row in found) == ["after", "before"]
    assert all("/same-pod-" in key for key in bucket.segments("fraud-v-again"))
