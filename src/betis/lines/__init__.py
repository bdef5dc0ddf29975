"""Emission lines: groups of lines fitted together in every spectrum at once.

``groups`` makes the problems, ``start`` the first guesses, ``model`` and ``solver`` the fit,
``measure`` the quantities, their errors and flags, ``fit`` the whole.
"""
