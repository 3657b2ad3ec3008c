"""Chaos: break the five real processes on purpose, under load, and judge what shoppers saw.

`trial.py` says what a fault is and what a verdict; `faults/` holds one file for each
kind of fault; `world.py` runs the processes, `load.py` keeps the account of every
request, `table.py` prints. Start with `faults/sources.py`: most faults are that one.
"""
