"""The process: settings, model, listening socket, and an orderly end.

```
SIGTERM ──▶ readiness off, "connection: close" ── drain seconds ──▶ stop listening, finish answers ──▶ flush the log
```
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np
import uvicorn
from pydantic import ValidationError

from plumbline_contract.routes import SERVING_VARIABLE, ServingSettings
from plumbline_serving.app import App
from plumbline_serving.direct import DirectProtocol
from plumbline_serving.errors import StartFailure, StorageTrouble
from plumbline_serving.infer import Inference
from plumbline_serving.log import PredictionLog
from plumbline_serving.metrics import Metrics
from plumbline_serving.model import Model, load
from plumbline_serving.place import place_of
from plumbline_serving.record import Columns
from plumbline_serving.redaction import redaction_of
from plumbline_serving.storage import Storage
from plumbline_serving.tally import Ended, Tally, open_tally

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75  # longer than the router keeps an idle connection (30 s), so that the router closes first
FINISH_SECONDS = 10  # for answers under way after the listening socket is closed
BACKLOG = 2048
SWITCH_SECONDS = 0.0001  # about what an inference takes
GARBAGE_THRESHOLD = 20_000  # new objects before a collection; a request leaves few that need one
HASH_KEY_VARIABLE = "PLUMBLINE_HASH_KEY"  # as for the jobs


def settings_from(environment: Mapping[str, str]) -> ServingSettings:
    """What this server was told. Raises StartFailure."""
    text = environment.get(SERVING_VARIABLE)
    if text is None:
        raise StartFailure(f"the environment variable {SERVING_VARIABLE} is missing; it holds the settings as JSON")
    try:
        return ServingSettings.model_validate_json(text)
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors(include_input=False))
        raise StartFailure(f"{SERVING_VARIABLE} is not valid: {wrong}") from exc


def hash_key(environment: Mapping[str, str], storage: Storage) -> bytes:
    """The key for hashes: from a Secret when the pod has one, else the namespace's own in the bucket."""
    given = environment.get(HASH_KEY_VARIABLE, "")
    return given.encode() if given else storage.hash_key()


def let_the_event_loop_go_first() -> None:
    """Have a thread that computes, the log's, give the interpreter back soon after the event loop asks for it.

    The loop gives it up with every inference and every look at its sockets, and by default waits 5 ms for its return.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def settle_garbage_collector() -> None:
    """Take what the start has made out of every later collection.

    Modules and model are some hundred thousand objects that live as long as the process; scanning them again and
    again under load is where a slowest percent of tens of milliseconds came from.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def run(settings: ServingSettings, host: str, port: int, drain_seconds: float) -> int:
    """Serve until SIGTERM or SIGINT; how many rows of the prediction log the end has lost. Raises StartFailure."""
    storage = Storage(settings)
    model = load(settings, storage)
    metrics = Metrics(settings.variant, model.manifest, model.digest)
    app, log = assemble(settings, model, storage, metrics)
    log.start()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=DirectProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    server = _Server(config)
    let_the_event_loop_go_first()
    settle_garbage_collector()
    np.seterr(over="ignore")  # a number too large for FP32 is answered with 400, not printed; inherited by all tasks
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, app, log, drain_seconds))
    lost = log.close()
    logger.info("stopped; %d log rows written, dropped %s", metrics.log_written, metrics.log_dropped)
    return lost


def assemble(settings: ServingSettings, model: Model, storage: Storage, metrics: Metrics) -> tuple[App, PredictionLog]:
    """The application and its log, not yet started."""
    redaction = redaction_of(model.signature, settings.redact, model.copies, hash_key(os.environ, storage))
    columns = Columns(settings.variant, model.manifest, redaction.inputs, redaction.outputs)
    pod = os.environ.get("HOSTNAME") or socket.gethostname()
    started = time.time_ns() // 1_000_000
    tally = open_tally(Path(tempfile.gettempdir()) / f"plumbline-{pod}-{settings.variant}.tally")
    tally.begin(started, lost_before(tally, settings, pod, storage))
    metrics.log_dropped["killed"] = tally.lost
    log = PredictionLog(
        storage,
        place_of(settings, pod, started),
        columns,
        metrics,
        flush_seconds=settings.log_flush_seconds,
        queue_rows=settings.log_queue_rows,
        tally=tally,
    )
    return App(settings, Inference(model, settings.variant, redaction, log, metrics), metrics), log


def lost_before(tally: Tally, settings: ServingSettings, pod: str, storage: Storage) -> int:
    """How many rows the process before this one has answered and not brought to the bucket."""

    def arrived(ended: Ended) -> bool:
        key = place_of(settings, pod, ended.started).key(ended.hour, ended.sequence)
        try:
            return storage.has(key)
        except StorageTrouble as exc:
            logger.warning("prediction log: %s; its %d rows are counted as lost", exc, ended.rows)
            return False

    ended = tally.ended()
    lost = ended.lost(arrived) if ended else 0
    if lost:
        logger.error("prediction log: the process before this one was killed; %d rows it answered are lost", lost)
    return lost


async def _serve(server: _Server, app: App, log: PredictionLog, drain_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    drain = loop.create_task(_drain(server, app, log, stop, drain_seconds))
    await server.serve()
    drain.cancel()


async def _drain(server: _Server, app: App, log: PredictionLog, stop: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    app.draining = True
    log.hurry()
    logger.info("draining for %.1f s", seconds)
    await asyncio.sleep(seconds)  # a fixed time by design: whoever routes to us must first see that we are not ready
    server.should_exit = True
