"""The denoiser: networks, normalisation and record in one file; compute devices."""
