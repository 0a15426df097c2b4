"""What every test gets."""

from hypothesis import settings

# The same examples on every machine: a red build must be red again when somebody looks.
settings.register_profile("plumbline", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("plumbline")
