"""Which model version answers which shopper, and how that changes while the gateway runs.

canary.py decides for one shopper, record.py keeps the decisions over a restart,
asking.py falls back to the default version, canaries.py holds what is in force and
changes it. docs/decisions/0012 says why it is done like this.
"""
