"""Runs of one viewer, kept while docks are closed and reopened."""
