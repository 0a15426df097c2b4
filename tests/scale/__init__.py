"""Thousands of objects on one API server: how long a start takes, what it costs, what rest costs."""
