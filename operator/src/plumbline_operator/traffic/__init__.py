"""Traffic arithmetic: steps, weights, verdicts. Pure."""
