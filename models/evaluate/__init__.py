"""Offline evaluation: honest numbers for each model alone and for the fused result.

Every item of the catalogue competes (no sampled negatives), and models are asked
through the same engines that serve.
"""
