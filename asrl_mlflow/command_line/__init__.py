"""The command `asrl`, its commands, and what they share: how their process begins and ends, and their options.

Imports whatever a command needs; this face imports nothing, as a process must answer signals before any of it is
loaded.
"""
