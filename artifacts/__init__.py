"""The artifact format: what training writes and serving reads.

An artifact is a directory, REPOSITORY/<source>/<version>/, that explains
itself: `manifest.json` says what the model wants and answers, hashes name every
file, sample requests with their answers prove that it loaded. This package is
all that training and serving share beside the protos: it imports neither torch
nor grpc.
"""

import os

# From 1.29 on, ONNX Runtime tells Microsoft about each model it runs unless this is set
# before it is first imported. A shop's server reports to the shop alone.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
