"""Tests of datasets, importers and splits."""
