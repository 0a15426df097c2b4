"""The golden path under faults: crashes at every write, a troubled API server, lost watch events."""
