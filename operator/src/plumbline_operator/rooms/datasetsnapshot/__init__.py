"""DatasetSnapshot: immutable data under one digest."""
