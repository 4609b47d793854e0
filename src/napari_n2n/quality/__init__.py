"""Say what a result is worth, without a clean image."""
