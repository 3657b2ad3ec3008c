"""The content service: items like these, and vectors for items nobody has seen yet."""
