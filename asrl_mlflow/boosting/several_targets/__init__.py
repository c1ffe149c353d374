"""Boosting for several targets at once: each has its own residuals and thresholds, trees are built together.

Imports `losses`, `residuals`, what all of boosting shares, and what `regression` knows of one target.
"""
