"""Simulate noise on a clean image: the corruptions of the Noise2Noise paper and of cameras.

A corruption is a frozen value with levels (or ranges, from which every image draws its own level).
Every call of `apply` draws new noise, so two calls give a pair with a known truth. Results are
floats, neither clipped nor quantised: both would bias the noise. `registry.NOISES` lists all
corruptions; command line, widgets and docs read it.
"""
