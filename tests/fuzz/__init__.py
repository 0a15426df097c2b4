"""Specs made from the published schemas, good and bad, written over and over to a real API server."""
