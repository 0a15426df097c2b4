"""What GitOps sees of a model's life."""
