"""Triton Inference Server: four models and a fusion of the Python backend, batched end to end.

The server is the one inside the wheel `nvidia-pytriton`, started directly. That
wheel holds no ONNX Runtime backend, so the models run ONNX Runtime inside the
Python backend: a lower bound on what Triton can do.
"""
