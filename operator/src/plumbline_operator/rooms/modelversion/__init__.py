"""ModelVersion: one immutable model, our judgement of it, and who approved it."""
