"""Losses for classes, of the margins that the trees sum up to: their interface, and one file a loss.

Imports what all losses share, `residuals` and numpy.
"""
