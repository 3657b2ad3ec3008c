"""Several processes for one model service: a parent, and workers that share its port.

A process of Python computes on about one core. The parent (parent.py) holds the ports,
starts as many workers as `workers` says, starts again what dies and shows all of them
as one: one gRPC port (SO_REUSEPORT), one metrics port (summed.py). Workers know of each
other only what group.py keeps in the directory they share: what all of them serve.
"""
