"""Model services as their callers meet them."""
