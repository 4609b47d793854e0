"""Layers that the docks add to the viewer."""
