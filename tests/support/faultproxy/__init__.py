"""A proxy between one client and the API server that kills, refuses, delays, cuts and loses, and writes a journal."""

from tests.support.faultproxy.call import Call
from tests.support.faultproxy.faults import Answer, Crash, Delay, Reset
from tests.support.faultproxy.journal import Entry, Journal
from tests.support.faultproxy.proxy import FaultProxy
from tests.support.faultproxy.upstream import Upstream, upstream

__all__ = ["Answer", "Call", "Crash", "Delay", "Entry", "FaultProxy", "Journal", "Reset", "Upstream", "upstream"]
