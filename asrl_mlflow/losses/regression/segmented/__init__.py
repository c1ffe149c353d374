"""Losses made of segments of |r|: quadratic, linear, logarithmic.

Imports the interface of losses, and numpy.
"""
