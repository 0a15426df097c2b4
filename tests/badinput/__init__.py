"""Specs that cannot work, and the words in which their writers are told."""
