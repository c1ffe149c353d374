"""Losses of one smooth formula that is quadratic near zero and linear, or almost, far out.

Imports the interface of losses, and numpy.
"""
