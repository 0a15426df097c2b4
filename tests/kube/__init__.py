"""Tests of the door to the API server."""
