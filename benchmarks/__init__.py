"""Measures the way of a call against its two halves: `make bench`."""
