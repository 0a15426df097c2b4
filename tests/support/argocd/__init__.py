"""A real Argo CD on a test cluster: built from its Go module, run as processes of this machine."""
