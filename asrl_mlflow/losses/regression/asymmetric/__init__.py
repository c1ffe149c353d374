"""Losses that treat residuals above zero otherwise than those below.

Imports the interface of losses, and numpy.
"""
