"""Storage that fails, lies and is slow: nothing is accepted that was not verified."""
