"""Tests of the machinery every room runs on."""
