"""Approval: the decision of one person on one digest."""
