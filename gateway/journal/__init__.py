"""Several gateways, one memory: what one records, all of them know.

Each write is an entry of a journal in Valkey, and every gateway, the one that wrote it
too, takes the entries into its own state file and memory in the journal's order. So
each holds all, answers from memory, and goes on without Valkey or the others; only
writes wait for the journal.
"""
