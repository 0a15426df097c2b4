"""Connection: an endpoint and its credentials, verified."""
