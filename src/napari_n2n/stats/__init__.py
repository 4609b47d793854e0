"""Statistics of arrays, independent of files, pairs and networks."""
