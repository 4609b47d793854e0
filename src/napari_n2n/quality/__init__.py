"""Estimate the quality of a result without a clean image."""
