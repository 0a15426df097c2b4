"""The main job, end to end, on a local cluster: `python -m tests.support.demo up` and `down`."""
