"""Dataset: a source, its declaration and its tests; cuts immutable snapshots."""
