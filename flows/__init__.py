"""The entry points of MLproject, one file each: `python -m flows.<name>`."""
