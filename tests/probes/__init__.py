"""Probes of kopf: what the operator relies on, held against the installed release and a real API server."""
