"""Default values that several packages use."""

# Larger: fewer pixels of long stacks are read twice; smaller: more memory for other programs.
MEMORY = 10**9
"""Default memory limit for pixels, in bytes."""
