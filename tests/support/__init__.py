"""What the tests stand on: clusters, builders of worlds, clocks."""
