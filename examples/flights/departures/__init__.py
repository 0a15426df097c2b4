"""Departures from New York in 2013: the raw tables, a clock in UTC, and features with honest timing."""
