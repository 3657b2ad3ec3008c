"""BentoML: four services with adaptive batching and one that merges, over HTTP."""
