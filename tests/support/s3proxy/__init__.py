"""A proxy between S3 clients and a real S3 server: refuses, slows, cuts, alters, swaps, kills, and keeps a journal."""

from tests.support.s3proxy.call import Call
from tests.support.s3proxy.faults import Cut, Fail, Fault, Flip, Other, Reset, Short, Slow, Stale, Trouble
from tests.support.s3proxy.journal import Entry, Journal
from tests.support.s3proxy.proxy import Crash, S3Proxy, Visitor

__all__ = [
    "Call",
    "Crash",
    "Cut",
    "Entry",
    "Fail",
    "Fault",
    "Flip",
    "Journal",
    "Other",
    "Reset",
    "S3Proxy",
    "Short",
    "Slow",
    "Stale",
    "Trouble",
    "Visitor",
]
