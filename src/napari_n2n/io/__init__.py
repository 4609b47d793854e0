"""Open acquisitions from files, layers and arrays, and write results that survive a crash."""
