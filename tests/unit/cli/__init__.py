"""Tests of the command line, against a gateway and processes written by hand."""
