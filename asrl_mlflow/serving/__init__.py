"""Predict with a registered model, in batches or as a server.

`model` is the file that MLflow loads, `batch` scores files, `scoring` folders of them, `server` answers requests.
`model` is logged with every model and run from there: it imports nothing of this project, and nothing
here imports it. The names are imported from their files: a server needs no file formats, a batch no server.
"""
