"""The line in which inference requests wait for the one core that answers them.

```
connections ── body whole ──▶ [ line, first come first served ] ──▶ several: read all, compute all, …
                   └─ line too long: 503 at once                     for at most SLICE_SECONDS; then all sockets are
                                                                     looked at again
```
Were requests answered as their sockets are read, a server with more work than time would read the next one only after
answering all before it: callers would wait for seconds to be told nothing. So reading comes first and is cheap, and
whoever would have to wait too long is told so while there is still time to ask elsewhere.

Several requests go through each step together, because all steps of one are more code and data than a core's nearest
caches hold: taken one request after the other, every step would find its own thrown out by the others. Each request
still has a run of the model to itself, so what it is answered does not depend on who else asks.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

SLICE_SECONDS = 0.002  # of answering, before sockets are read again; one long inference may exceed it
LOOK_SECONDS = 0.0005  # of answering, for each look at the sockets, which costs some microseconds when nothing came
MOST_LOOKS = 64
TOGETHER = 8  # requests that go through a step together; twice as many gain little more, and answers leave later
TOGETHER_BYTES = 64 * 1024  # of their bodies: beyond that the data, not the code, is what the caches do not hold
WAIT_SECONDS = 0.5  # whoever would wait longer is refused; a caller with a second's patience can still ask elsewhere
LEAST = 16  # may always wait: a few callers of a slow model are no overload
LEARNING = 0.05  # how much of what an answer usually takes is learned from one
STRETCH = 4  # times the usual: what an answer takes beyond that is rare until more of them say otherwise
LEARNING_RARE = 0.001  # a process that was not scheduled for 0.3 s adds 0.3 ms to what an answer takes
MOST_BYTES = 128 * 1024 * 1024  # of bodies, whole or still coming


class Waiting(Protocol):
    """A request to be answered, in four steps. Its caller may have left meanwhile. No step raises."""

    @property
    def size(self) -> int:
        """Bytes of its body."""

    def read(self) -> None:
        """Take in what is asked."""

    def compute(self) -> None:
        """Run the model."""

    def answer(self) -> None:
        """Write down the answer."""

    def send(self) -> bool:
        """Send it; whether it is the model's."""


class Line:
    """Whose turn it is. All methods belong to the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` says the seconds since some moment."""
        self.bytes = 0  # of all bodies held; whoever holds them counts
        self._clock = clock
        self._waiting: deque[Waiting] = deque()
        self._usual = 0.0  # seconds that an answer of the model takes, on average of late, cut at a few times the usual
        self._rare = 0.0  # what that cut off, on average of a longer time
        self._called = False

    @property
    def heavy(self) -> bool:
        """Whether the bodies held need more memory than there is for them."""
        return self.bytes > MOST_BYTES

    def full(self) -> bool:
        """Whether a request that is whole now would wait too long."""
        ahead = len(self._waiting)
        return ahead >= LEAST and ahead * (self._usual + self._rare) > WAIT_SECONDS

    def join(self, one: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for a turn."""
        self._waiting.append(one)
        if not self._called:
            self._called = True
            loop.call_soon(self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        began = now = self._clock()
        while self._waiting and now - began < SLICE_SECONDS:
            computed = in_steps(self._several(SLICE_SECONDS - (now - began)))
            before, now = now, self._clock()
            # A wrong request costs next to nothing; a hundred of them must not hide what an answer costs.
            for _ in range(computed):
                self._learn((now - before) / computed)
        self._look(loop, min(MOST_LOOKS, int((now - began) / LOOK_SECONDS)))

    def _several(self, seconds: float) -> list[Waiting]:
        """Those who are answered next: the first, and as many more as usually take no longer than this."""
        waiting = self._waiting
        most = min(TOGETHER, int(seconds / self._usual)) if self._usual else 1
        several = [waiting.popleft()]
        size = several[0].size
        while len(several) < most and waiting and (size := size + waiting[0].size) <= TOGETHER_BYTES:
            several.append(waiting.popleft())
        return several

    def _learn(self, took: float) -> None:
        """Remember what an answer took.

        One that took very long does not say what the next will take, so it teaches little; several in a row soon make
        that the usual. Where long ones keep coming among many short ones, all that they take counts in the end.
        """
        usual = self._usual or took
        taught = min(took, STRETCH * usual)
        self._usual = usual + LEARNING * (taught - usual)
        self._rare += LEARNING_RARE * (took - taught - self._rare)

    def _look(self, loop: asyncio.AbstractEventLoop, times: int) -> None:
        """Go on after the loop has looked at its sockets so many times, at each of which it takes one new connection.

        Also when nobody waits just now: those who came during the slice are not in the line yet.
        """
        if times:
            loop.call_soon(self._look, loop, times - 1)
        elif self._waiting:
            loop.call_soon(self._work, loop)
        else:
            self._called = False


def in_steps(several: list[Waiting]) -> int:
    """Answer them all. How many answers are the model's."""
    for one in several:
        one.read()
    for one in several:
        one.compute()
    for one in several:
        one.answer()
    return sum([one.send() for one in several])
