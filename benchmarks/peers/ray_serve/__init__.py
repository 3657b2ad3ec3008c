"""Ray Serve: four deployments with dynamic batching and one that merges, over HTTP."""
