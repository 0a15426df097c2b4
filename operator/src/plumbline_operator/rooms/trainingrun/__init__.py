"""TrainingRun: one immutable run, from snapshots and code to a model."""
