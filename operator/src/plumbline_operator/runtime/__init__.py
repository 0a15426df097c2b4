"""The machinery every room runs on: queue, loop, links, resync, Lease, Events, metrics, health."""
