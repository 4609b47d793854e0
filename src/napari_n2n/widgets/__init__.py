"""What people see in napari: views and sessions; everything is computed by the engine below."""
