"""ReleasePin: the lever for an incident, outside Git: serve an earlier version now."""
