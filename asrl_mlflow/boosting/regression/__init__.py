"""Boosting for regression: residuals of the rows, what they weigh, trees from weights or gradients.

Imports `losses`, `residuals`, and what all of boosting shares.
"""
