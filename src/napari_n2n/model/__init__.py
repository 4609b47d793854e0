"""The denoiser: network, normalisation and record in one file, and where it computes."""
