"""Statistics of residuals whose rows are spread over many workers, exact and the same on each.

Imports nothing of this project but `errors` and the rest of `residuals`.
"""
