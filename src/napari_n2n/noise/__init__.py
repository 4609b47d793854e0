"""Measure the noise of a pair and recommend a loss."""
