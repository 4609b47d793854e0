"""Simulate noise on a clean image: the corruptions of the Noise2Noise paper and of cameras.

A corruption is an immutable object with levels (or ranges, from which a level is drawn for every
image). Every call of `apply` draws new noise, so two calls give a pair with a known truth. Results
are floats that are neither clipped nor quantised, because both would bias the noise.
`registry.NOISES` lists all corruptions for the command line, the widgets and the docs.
"""
