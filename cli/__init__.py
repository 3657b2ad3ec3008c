"""The `plait` command: the composition root for people; nothing imports it.

It talks to a running Plait only the way a storefront does, through gRPC and the
metrics endpoints, and starts the five processes the way any supervisor would.
"""
