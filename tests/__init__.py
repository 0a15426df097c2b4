"""Plumbline's tests: what they share is imported as ``tests.support``."""
