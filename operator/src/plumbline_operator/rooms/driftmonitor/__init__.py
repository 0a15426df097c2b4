"""DriftMonitor: says when what is asked of a model no longer looks like what it learnt from."""
