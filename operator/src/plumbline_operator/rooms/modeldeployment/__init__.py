"""ModelDeployment: serves a model, and moves traffic from one version to the next in steps."""
