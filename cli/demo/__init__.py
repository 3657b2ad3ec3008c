"""`plait demo`: the whole of Plait on real data, in seven steps that check themselves.

command.py is the plot, prepare.py makes what the walk needs, shoppers.py chooses
who it is about, the other files hold the steps. A step whose claim does not hold
ends the demo with a message and an exit code.
"""
