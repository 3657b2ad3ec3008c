"""The public API `plait.v1`: the only part of the gateway that meets its protos.

Messages become small frozen data in `read.py` and `read_rules.py` (every
refusal names the field), and answers become messages in `write.py`.
"""
