"""One thread per test process, and the same random numbers every time.

OMP_NUM_THREADS=2 runs the suite on two threads instead: nothing in it may depend on the number.
"""

import os

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
settings.register_profile("cascore", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("cascore")


@pytest.fixture(autouse=True)
def seeded():
    """Whatever ran before in this process, new networks begin with the same weights."""
    torch.manual_seed(0)
