"""Losses whose far rows pull less the farther away they are: Barron's family, bisquare, MM.

Imports the interface of losses, other kinds of losses as building blocks, and numpy.
"""
