"""kopf, the ears' ears, in a thread and an event loop of its own: when it falls, nothing of ours falls with it.

kopf ends for good on answers that a troubled API server gives: 401, 404, 409, 410, half a list, a minute of 503. When
it ends it cancels what it finds in its event loop. So it gets a loop of its own, and is begun again.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights  # kopf.operator takes it, and kopf exports it nowhere

from plumbline_operator.model.meta import Ref
from plumbline_operator.runtime.ears import Ears, listener_settings

FIRST_PAUSE = 1.0  # seconds until it is begun again, doubling
LONGEST_PAUSE = 15.0  # seconds; beginning costs two calls for each type that is watched
CALM_SECONDS = 60.0  # after so long a life the pauses start from the first one again

END_SECONDS = 10.0  # that an end may take; kopf's takes five when it falls, and now and then for ever
READY_SECONDS = 60.0  # that kopf may take to learn what the API server serves
LEFT_SECONDS = 1.0  # that what kopf has left may take to be cancelled, and as long once more to be closed

log = logging.getLogger(__name__)

Live = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]
"""Listens until the event is set, or raises; calls the function once it begins to end, for whatever reason."""


class TokenRefused(Exception):
    """The API server answered 401; the next life reads the token's file again."""


class NotServed(Exception):
    """Types that the API server does not serve, or not yet: it has just been started, or the CRDs are not there."""

    def __init__(self, lacking: Sequence[str]) -> None:
        super().__init__(f"the API server does not serve {', '.join(lacking)}; the chart installs the CRDs")


@dataclass(slots=True)
class Listener:
    """Keeps one life of `live` going in a thread. Call everything from one event loop."""

    live: Live
    first_pause: float = FIRST_PAUSE
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: Callable[[], object] = lambda: None

    async def run(self) -> None:
        """Listen until end() is called; what goes wrong is logged, waited out, and begun again."""
        pause = self.first_pause
        while not self._ended.is_set():
            began = time.monotonic()
            trouble = await self._once()
            if trouble is None:
                continue
            pause = self.first_pause if time.monotonic() - began > CALM_SECONDS else pause
            log.warning("the watches fell: %s; they begin again in %.0f s", trouble, pause)
            try:
                await asyncio.wait_for(self._ended.wait(), pause)
            except TimeoutError:
                pause = min(2 * pause, LONGEST_PAUSE)

    def renew(self) -> None:
        """Begin all watches anew, with fresh connections and lists."""
        self._stop()

    def end(self) -> None:
        """Let run() return soon."""
        self._ended.set()
        self._stop()

    async def _once(self) -> str | None:
        """One life, from its beginning to its end; why it fell, None when it was told to end."""
        thread = _Thread(self.live)
        self._stop = thread.stop
        return await thread.over


class _Thread:
    """One life, in a thread and an event loop of its own. However it ends, `over` is told: why, None after stop()."""

    def __init__(self, live: Live) -> None:
        self._live, self._flag, self._told = live, asyncio.Event(), threading.Event()
        self._last_calls: list[asyncio.TimerHandle] = []
        self._ours, self._theirs = asyncio.get_running_loop(), asyncio.new_event_loop()
        self._theirs.set_exception_handler(_left_behind)
        self.over: asyncio.Future[str | None] = self._ours.create_future()
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Have it end soon."""
        self._told.set()
        _tell(self._theirs, self._flag.set)
        _tell(self._theirs, self._ending)

    def _ending(self) -> None:
        self._last_calls.append(self._theirs.call_later(END_SECONDS, self._theirs.stop))

    def _run(self) -> None:
        # The thread's boundary: whatever goes wrong is told and begun again, SystemExit and the like too.
        trouble = "they ended by themselves"
        try:
            self._theirs.run_until_complete(self._live(self._flag, self._ending))
        except BaseException as error:  # noqa: BLE001
            trouble = f"{type(error).__name__}: {error}"
        try:
            for call in self._last_calls:
                call.cancel()
            _close(self._theirs)
        except BaseException:  # whatever it is, the thread ends now, and that must be told
            log.warning("what the watches left could not be closed", exc_info=True)
        _tell(self._ours, self._tell_over, None if self._told.is_set() else trouble)

    def _tell_over(self, trouble: str | None) -> None:
        if not self.over.done():  # nobody waits any more
            self.over.set_result(trouble)


def _left_behind(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Trouble of a task that nobody waits for any more; why the watches fell is told elsewhere."""
    log.debug("left behind by the watches: %s %r", context["message"], context.get("exception"))


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop; what is left in it is cancelled, and not waited for beyond a moment."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    try:
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LEFT_SECONDS))
        generators = loop.create_task(loop.shutdown_asyncgens())
        loop.run_until_complete(asyncio.wait([generators], timeout=LEFT_SECONDS))
    finally:
        loop.close()


def _tell(loop: asyncio.AbstractEventLoop, task: Callable[..., object], *arguments: object) -> None:
    """Have a task run in another loop, unless that loop is over."""
    try:
        loop.call_soon_threadsafe(task, *arguments)
    except RuntimeError:  # the loop was closed: nobody waits for this any more
        log.debug("nobody listens any more")


def listener(ears: Ears, namespaces: Sequence[str]) -> Listener:
    """A listener that brings every event to these ears, in the event loop that calls this."""
    ears.post = asyncio.get_running_loop().call_soon_threadsafe
    clusterwide = not namespaces

    async def live(stop: asyncio.Event, ending: Callable[[], None]) -> None:
        troubles: list[Exception] = []

        def refused() -> None:
            troubles.append(TokenRefused("the API server refuses the token"))
            stop.set()

        registry, insights = ears.listen(refused), Insights()

        @kopf.on.cleanup(registry=registry)
        async def ends(**_: Any) -> None:
            ending()

        check = asyncio.create_task(
            _unserved(insights, ears.watched(), stop)
        )  # before kopf, which cancels what is younger
        try:
            await kopf.operator(
                registry=registry,
                settings=listener_settings(clusterwide=clusterwide),
                insights=insights,
                clusterwide=clusterwide,
                namespaces=namespaces,
                stop_flag=stop,
                standalone=True,
            )
            if check.done() and check.result():
                troubles.append(NotServed(check.result()))
            if troubles:
                raise troubles[0]
        finally:
            check.cancel()

    return Listener(live)


async def _unserved(insights: Insights, wanted: Sequence[Ref], stop: asyncio.Event) -> list[str]:
    """The types that kopf did not find and therefore will never watch; if there are any, it is told to stop."""
    try:
        await asyncio.wait_for(insights.ready_resources.wait(), READY_SECONDS)
    except TimeoutError:
        stop.set()
        return ["a list of its types in time"]
    found = {(one.group, one.version, one.plural) for one in insights.watched_resources}
    lacking = [f"{ref.plural}.{ref.group}" for ref in wanted if (ref.group, ref.version, ref.plural) not in found]
    if lacking:
        stop.set()
    return lacking
