"""Rollout arithmetic: which step, which weights, and whether the numbers allow the next one. Pure."""
