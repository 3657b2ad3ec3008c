"""An evaluation from dataset to report: split, train, tune, rank, judge.

The order is what keeps it honest: models see the train part, the fusion is tuned
on what follows it, and what is judged is looked at once. plan.py says what can
be asked for, run.py is the whole, ways.py the place for another way to fuse.
"""
