"""A proxy between one client and the API server that kills, refuses, delays, cuts, loses and lags; writes a journal."""

from tests.support.faultproxy.call import Call
from tests.support.faultproxy.faults import Answer, Crash, Delay, Expired, Fault, Reset, Side, Truncate
from tests.support.faultproxy.journal import Entry, Journal
from tests.support.faultproxy.proxy import FaultProxy
from tests.support.faultproxy.upstream import Upstream, upstream
from tests.support.faultproxy.watches import Event, Fate, Watches

__all__ = [
    "Answer",
    "Call",
    "Crash",
    "Delay",
    "Entry",
    "Event",
    "Expired",
    "Fate",
    "Fault",
    "FaultProxy",
    "Journal",
    "Reset",
    "Side",
    "Truncate",
    "Upstream",
    "Watches",
    "upstream",
]
