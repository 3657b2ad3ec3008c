"""Ablations: what one input, setting or term is worth, all else being the same.

One file for each kind; `ablations` runs those that were asked for.
"""
