"""Acquisitions of one scene, checked and brought onto one grid and one intensity scale."""
