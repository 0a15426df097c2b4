"""Pure builders: facts in, manifests out."""
