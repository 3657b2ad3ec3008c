"""The text service: items that answer a query, and vectors for texts."""
