"""Statistics of arrays: they know nothing of files, pairs or networks."""
