"""Default values and limits that several packages use."""

# Larger: fewer pixels of long stacks are read twice; smaller: more memory for other programs.
MEMORY = 10**9
"""Default memory limit for pixels, in bytes."""

MOST_MEMORY = 2**50
"""Largest memory limit, in bytes: more than any computer has."""
