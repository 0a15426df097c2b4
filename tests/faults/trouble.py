"""`python -m tests.faults.trouble`: the golden path on an API server in trouble.

python -m tests.faults.trouble                             every kind of trouble
python -m tests.faults.trouble --mode calls --seed 7       30 % of the calls fail for five minutes
python -m tests.faults.trouble --mode restarts             the API server and etcd are restarted, again and again
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from tests.faults.cases import PATH_SECONDS, Ground, Reference, Result, converge, reference
from tests.faults.ground import ground
from tests.faults.lane import Lane, lane, soon
from tests.support.cluster.embedded import EmbeddedCluster
from tests.support.faultproxy import Answer, Call, Crash, Delay, Expired, Fault, Journal, Reset, Truncate

Mode = Literal["none", "calls", "restarts", "token", "expired", "patience"]

ALLOWANCE_SECONDS = 60.0  # from the last fault to the reference state
SHARE = 0.3
SEED = 20130101
PATIENCE_SECONDS = 7  # of a Retry-After
FORGIVEN_SECONDS = 0.5
MINUTE = 60.0
LEAST_MINUTES = 2  # the first may cost more than the quiet one
FAULTS: tuple[Fault, ...] = (
    *(Answer(429, retry_after=1), Answer(500), Answer(503), Answer(409), Answer(410), Expired()),
    *(Reset("before"), Reset("after"), Delay(2), Delay(31)),
    *(Truncate("length"), Truncate("chunked"), Truncate("json")),
)
ETCD_EVERY = 4  # of so many restarts of the API server one comes with a restart of etcd


@dataclass(frozen=True, slots=True)
class Case:
    """One trouble: for so many seconds, or with so many restarts."""

    mode: Mode
    seconds: float = 0.0
    times: int = 0
    seed: int = SEED

    def title(self) -> str:
        """A name for its folder."""
        return f"trouble-{self.mode}"

    def command(self) -> str:
        """How to have it again."""
        size = f" --seconds {self.seconds:g} --times {self.times} --seed {self.seed}"
        return f"python -m tests.faults.trouble --mode {self.mode}{size}"


WHOLE = (
    Case("calls", seconds=300.0),
    Case("restarts", times=20),
    Case("token", seconds=150.0),
    Case("expired", times=80),
    Case("patience", seconds=150.0),
)


@dataclass(slots=True)
class Told:
    """What came of a case. `seconds` from the last fault to the reference state; `rates`: calls in each minute."""

    case: Case
    seconds: float = 0.0
    faults: int = 0
    rates: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One row of the table."""
        verdict = "ok" if not self.complaints else "FAILED"
        rest = f"{self.seconds:5.1f} s after the last of {self.faults} faults; calls per minute {self.rates}"
        return f"{self.case.title():18} {verdict:6} {rest}"


async def trouble_case(place: Ground, wanted: Reference, case: Case, quiet_rate: int = 0) -> Told:
    """The golden path with one trouble; what is wrong afterwards is in the result.

    quiet_rate: calls in the minute of an undisturbed path; 0 asks for no comparison.
    """
    told, result = Told(case), Result(Crash(0, "before"))
    async with lane(place.cluster, *place.place(case.title()), place.users) as one:
        began = time.monotonic()
        await ARRANGE[case.mode](one, place, case)
        over = time.monotonic()
        await converge(one, place, wanted, result)
        told.seconds, told.complaints = result.seconds, result.complaints
        told.faults = sum(bool(entry.fault) for entry in one.proxy.journal.entries)
        told.rates = rates(one.proxy.journal, began, max(over, began + MINUTE))
        if case.mode != "none" and not told.faults:
            told.complaints.append("there was no trouble: nothing was proved")
        if case.mode == "patience":
            told.complaints += impatient(one.proxy.journal)
        if quiet_rate and len(told.rates) < LEAST_MINUTES:
            told.complaints.append(f"only {len(told.rates)} minutes of calls were counted")
        if quiet_rate and any(rate > 2 * quiet_rate for rate in told.rates[1:]):
            told.complaints.append(f"calls per minute {told.rates}: more than twice the {quiet_rate} without trouble")
        if one.process is None or one.process.returncode is not None:
            told.complaints.append("the operator has ended")
    return told


async def quiet_rate(place: Ground, wanted: Reference) -> int:
    """The calls of the operator's first minute when nothing is wrong: its start, the whole path, and some rest."""
    async with lane(place.cluster, *place.place("quiet"), place.users) as one:
        await _begun(one)
        began = one.proxy.journal.asked[0][0]
        result = Result(Crash(0, "before"))
        await converge(one, replace(place, limit=5 * PATH_SECONDS), wanted, result)
        assert not result.complaints, f"the path itself is broken: {result.complaints}"
        await asyncio.sleep(max(0.0, began + MINUTE - time.monotonic()))  # the rest of the minute that is counted
        return rates(one.proxy.journal, began, began + MINUTE)[0]


def rates(journal: Journal, since: float, until: float) -> list[int]:
    """Calls in each whole minute of this time."""
    minutes = int((until - since) // MINUTE)
    return [journal.calls(since + MINUTE * one, since + MINUTE * (one + 1)) for one in range(minutes)]


def impatient(journal: Journal) -> list[str]:
    """Calls that came before the Retry-After of their like was over. A call's like: agent, method and type.

    Calls that were on their way while their like was refused are forgiven.
    """
    offset = time.time() - time.monotonic()
    moments = [(at + offset, False, _like(call)) for at, call in journal.asked]
    moments += [(entry.at, True, _like(entry.call)) for entry in journal.entries if "429" in entry.fault]
    refused: dict[tuple[Any, ...], float] = {}
    lines = []
    for at, was_refused, like in sorted(moments):
        since = at - refused.get(like, -PATIENCE_SECONDS)
        if was_refused:
            refused[like] = at
        elif FORGIVEN_SECONDS < since < PATIENCE_SECONDS - FORGIVEN_SECONDS:
            lines.append(f"{like} came again after {since:.1f} s")
    return lines[:5]


def _like(call: Call) -> tuple[Any, ...]:
    return call.agent.partition("/")[0], call.method, call.resource, bool(call.name), call.subresource, call.watch


async def _begun(one: Lane) -> None:
    """Start the operator, and wait for its first change."""
    await one.start_operator()

    async def changed() -> bool:
        return bool(one.proxy.journal.entries)

    await soon("the operator's first change", changed, 5 * PATH_SECONDS)


async def _nothing(one: Lane, place: Ground, case: Case) -> None:
    await one.start_operator()


async def _failing_calls(one: Lane, place: Ground, case: Case) -> None:
    """Let a share of all calls fail for a while."""
    dice = random.Random(case.seed)
    await _begun(one)
    one.proxy.trouble = lambda call: dice.choice(FAULTS) if dice.random() < SHARE else None
    await asyncio.sleep(case.seconds)  # the length of the trouble, not a wait for something
    one.proxy.trouble = lambda call: None


async def _restarts(one: Lane, place: Ground, case: Case) -> None:
    """Restart the API server so many times, and etcd with every fourth of them."""
    assert isinstance(place.cluster, EmbeddedCluster)
    plane, dice = place.cluster.control_plane, random.Random(case.seed)
    await _begun(one)

    async def missed() -> bool:
        return any(entry.fault.startswith("away") for entry in one.proxy.journal.entries)

    for number in range(1, case.times + 1):
        parts = ["apiserver", "etcd"] if number % ETCD_EVERY == 1 else ["apiserver"]
        for part in parts:
            await asyncio.to_thread(plane.stop_part, part, grace_seconds=dice.choice([0.1, 3.0]))
        if number == 1:  # a quick restart may fall between two calls
            await soon("a call while the API server is away", missed, 5 * PATH_SECONDS)
        for part in reversed(parts):
            await asyncio.to_thread(plane.start_part, part)
        await asyncio.to_thread(plane.wait_for, "apiserver")
        await asyncio.sleep(dice.uniform(0.0, 4.0))  # how long it is there before it goes again
    # Kubernetes' own controllers take up to a minute to look again; what is measured here is how long ours takes.
    await asyncio.to_thread(plane.stop_part, "controller-manager", grace_seconds=0.1)
    await asyncio.to_thread(plane.start_part, "controller-manager")
    await asyncio.to_thread(plane.wait_for, "controller-manager")


async def _expired_token(one: Lane, place: Ground, case: Case) -> None:
    """Run as a pod would; let the token expire mid-way, and renew its file after a while."""
    assert isinstance(place.cluster, EmbeddedCluster)
    folder = one.folder / "serviceaccount"
    await asyncio.to_thread(folder.mkdir)
    valid = "first"
    (folder / "token").write_text(valid)
    authority = place.cluster.control_plane.authority
    pair = await asyncio.to_thread(authority.server, one.namespace, ["127.0.0.1"], ["localhost"])
    (folder / "ca.crt").write_bytes(authority.ca.certificate.read_bytes())
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(pair.certificate, pair.key)
    port = str(await one.proxy.listen_tls(trust))
    one.settings |= {"KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
    one.settings["PLUMBLINE_SERVICE_ACCOUNT"] = str(folder)
    one.proxy.trouble = lambda call: None if call.token == valid else Answer(401)
    await _begun(one)
    valid = "second"
    await asyncio.sleep(case.seconds)  # how long the kubelet is late
    (folder / "token").write_text(valid)


async def _expired_places(one: Lane, place: Ground, case: Case) -> None:
    """End all watches with 410, again and again; half of the lists that follow get 410 too."""
    dice = random.Random(case.seed)
    await _begun(one)
    one.proxy.trouble = lambda call: (
        Expired() if call.method == "GET" and not call.name and dice.random() < 0.5 else None
    )
    for _ in range(case.times):
        await one.proxy.watches.expire()
        await asyncio.sleep(dice.uniform(0.5, 3.0))  # how long the watches are there
    one.proxy.trouble = lambda call: None


async def _patience(one: Lane, place: Ground, case: Case) -> None:
    """Ask for patience with everything about Jobs and ConfigMaps for a while."""
    await _begun(one)
    busy = ("jobs", "configmaps")
    one.proxy.trouble = lambda call: (
        Answer(429, retry_after=PATIENCE_SECONDS) if call.resource in busy and not call.watch else None
    )
    await asyncio.sleep(case.seconds)  # the length of the trouble, not a wait for something
    one.proxy.trouble = lambda call: None


ARRANGE: dict[Mode, Callable[[Lane, Ground, Case], Awaitable[None]]] = {
    "none": _nothing,
    "calls": _failing_calls,
    "restarts": _restarts,
    "token": _expired_token,
    "expired": _expired_places,
    "patience": _patience,
}


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every trouble was lived through."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="plumbline-trouble-"))
    print(f"logs and journals: {folder}")
    with ground(f"trouble-{os.getpid()}", folder, ALLOWANCE_SECONDS) as place:
        return asyncio.run(_run(place, options))


async def _run(place: Ground, options: argparse.Namespace) -> int:
    wanted = await reference(place)
    rate = await quiet_rate(place, wanted)
    print(f"without trouble: {wanted.seconds:.1f} s, {rate} calls in the minute of the path")
    cases = [one for one in WHOLE if options.mode in (None, one.mode)]
    given = {name: getattr(options, name) for name in ("seconds", "times", "seed") if getattr(options, name)}
    bad = 0
    for case in cases:
        told = await trouble_case(place, wanted, replace(case, **given), rate)
        print(told.line(), *told.complaints, sep="\n            ", flush=True)
        if told.complaints:
            print(f"            again: {told.case.command()}")
        bad += bool(told.complaints)
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.trouble", description=__doc__)
    parser.add_argument("--mode", choices=get_args(Mode))
    parser.add_argument("--seconds", type=float, help="how long the trouble lasts")
    parser.add_argument("--times", type=int, help="how many restarts, or ends of all watches")
    parser.add_argument("--seed", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
