"""Learning how the sources combine: blend weights, domain transitions, small settings.

Everything is tuned on events that neither the sources nor their artifacts have
seen, because a model always looks best on what it was trained on.
"""
