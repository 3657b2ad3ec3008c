"""Malformed requests: valid messages that were broken with knowledge of their structure.

`messages.py` makes valid ones for every rpc, `mutate.py` and `tensors.py` break them,
`sender.py` sends them and judges the status, `sockets.py` sends what is no gRPC at all.
"""
