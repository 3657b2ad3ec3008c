"""The fusion: from the sources' candidates to one ranking.

A list of small pure stages over a table of candidates (`pipeline.STAGES`). It
knows numpy and nothing else: no transport, no clock, no store. What serves a
shopper is therefore exactly what the offline evaluation measures.
"""
