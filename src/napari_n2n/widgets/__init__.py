"""The user interface in napari: docks, layers and sessions. Other packages do the computing."""
