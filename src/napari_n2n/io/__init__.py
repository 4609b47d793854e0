"""Open acquisitions from files, layers and arrays; write results that survive a crash."""
