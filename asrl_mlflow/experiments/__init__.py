"""Run experiments: train a loss on a table, measure it once on the test rows, log everything.

`experiment` runs one, `series` runs several, `trials` judges those of a study in worker processes, `report` prints
results, `settings` says how to boost.
Imports `boosting`, `tracking`, `figures` and `records`. The names are imported from their files: the
command line needs the settings, but not matplotlib.
"""
