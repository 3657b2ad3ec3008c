"""How many threads torch takes while it trains."""

import os

import torch

from models.threads import torch_threads


def test_torch_takes_no_more_threads_than_there_are_cores_and_gives_them_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(1_000_000_000):
        assert torch.get_num_threads() == os.cpu_count()
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
