"""Traffic on a real node while everything around it is changed, killed or gone. Needs Bed B."""
