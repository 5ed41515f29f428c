"""One thread per test process, and property tests that draw the same examples every time.

OMP_NUM_THREADS=2 runs the suite on two threads instead: nothing in it may depend on the number.
"""

import os

import torch
from hypothesis import settings

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
settings.register_profile("cascore", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("cascore")
