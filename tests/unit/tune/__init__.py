"""Searching settings: what is searched, what is remembered, what is told."""
