"""The parts of the gateway, each alone."""
