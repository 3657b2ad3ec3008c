"""The job that every system does: what is asked, of which models, and what counts as the answer.

One request is a history of 50 item keys. Four separately served ONNX models over
20,000 items each name their best 100; the union of the four lists, scored by
`merge`, gives the top 20. Every system runs the same four files and the same
merge, so what differs between two rows of the table is serving alone.
"""

SOURCES = ("cf", "content", "sequence", "text")
# Width of each model's item vectors: 51 MB of weights in all.
WIDTHS = {"cf": 64, "content": 128, "sequence": 64, "text": 384}
ITEMS = 20_000
HISTORY = 50
CANDIDATES = 100
TOP = 20
