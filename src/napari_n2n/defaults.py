"""Defaults that several packages share."""

MEMORY = 10**9
"""Bytes that pixels may take where nobody says."""
