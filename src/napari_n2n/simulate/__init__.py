"""The corruptions of the Noise2Noise paper, to be put on a clean image as often as wanted.

A corruption is a frozen value with a level (or a range from which every image draws its own), and
`apply` draws fresh noise at every call, so that two calls give a pair of which the truth is known.
Results are floats, neither clipped nor quantised: both would move the mean of the noise. The table
`NOISES` is the only place where corruptions are listed: command line, widgets and docs read it.
"""
