"""The operator: reconciles the kinds of plumbline.dev. It listens with kopf and decides in pure plans."""
