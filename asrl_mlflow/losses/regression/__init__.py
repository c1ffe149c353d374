"""Losses of the residual, target minus prediction: their interface, and how rows are weighed by them.

The losses themselves are in the four folders. Imports what all losses share, `residuals` and numpy.
"""
