"""What the router costs: the same server, asked directly and through Envoy, in one run."""
