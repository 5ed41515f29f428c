"""One thread per test process, and property tests that draw the same examples every time."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("cascore", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("cascore")
