"""How many threads torch takes, for the length of a training run.

More than one helps on idle cores and costs many times as much where another
process wants one of them: torch's threads wait for each other by spinning.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch `count` threads, one a core at most, and what it had before afterwards.

    A million of them would end the process without a word.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
