"""What runs an artifact: one engine per kind of graph."""
