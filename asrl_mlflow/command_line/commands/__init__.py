"""The commands, one file each: `asrl <name>`, and in a clone `python -m flows.<name>`.

Imports whatever it needs; nothing but `flows` and the command `asrl` imports it.
"""
