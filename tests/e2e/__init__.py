"""The five real processes, on models trained on a small part of the real data."""
