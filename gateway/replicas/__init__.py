"""What stands behind one source: several servers, and which of them is worth a call.

Pure parts first (breaker, pace, quantile, budget, verdict, balance, addresses),
then the server itself (replica) and the race between two of them (race).
gateway/connection.py puts them together.
"""
