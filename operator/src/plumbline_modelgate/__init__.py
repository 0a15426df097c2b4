"""The model file gate: what a model file must be before any runtime opens it."""
