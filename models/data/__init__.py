"""Datasets: the canonical directory, importers into it, splits and arrays out of it.

Whatever a shop's data looks like, an importer turns it into one shape (items,
events, queries as Parquet); splitting, training and evaluation know only that.
"""
