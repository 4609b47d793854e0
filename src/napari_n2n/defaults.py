"""Defaults of several packages."""

# Larger: fewer pixels of long stacks are read twice; smaller: more is left for other programs.
MEMORY = 10**9
"""Default limit of the memory for pixels, in bytes."""
