"""What is claimed about faults, bad input, rights and load, and what was seen: `make proof`."""
