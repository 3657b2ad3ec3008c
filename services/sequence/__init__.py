"""The sequence service: what comes next."""
