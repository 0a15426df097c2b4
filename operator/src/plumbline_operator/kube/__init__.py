"""The narrow port to the API server, and its implementations."""
