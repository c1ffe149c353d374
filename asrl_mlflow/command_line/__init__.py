"""What all commands share: how their process begins and ends, their options, and the command `asrl` around them.

Imports `datasets`, `experiments`, `losses`, `system` and `tracking`; this face imports nothing, as a process must
answer signals before any of them is loaded.
"""
