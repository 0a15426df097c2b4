"""`kubectl plumbline`: the few things that take more than one kubectl command."""
