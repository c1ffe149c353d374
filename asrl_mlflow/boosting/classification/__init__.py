"""Boosting for classification: labels and margins of the rows, and trees from gradients.

Imports `losses`, `metrics`, and what all of boosting shares.
"""
