"""The same job on other systems, each written and set as well as we could."""
