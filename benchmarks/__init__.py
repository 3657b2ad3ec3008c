"""Benchmarks: each answers one question, over gRPC, on real artifacts, and writes JSON."""
