"""The gateway: one question from a storefront, several models' answers, one ranking.

Read `ranking.py` first: it is the request path. `api/` is the only part that meets
the public protos, `sources.py` the only one that meets the models' protocol,
`fusion/` is pure, `store.py` is the only one that meets the disk.
"""
