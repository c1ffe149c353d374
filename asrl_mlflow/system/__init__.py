"""Files, processes, signals, addresses and threads: what any program needs of its system.

Imports nothing of this project but `errors`.
"""
