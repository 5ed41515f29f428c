"""Whether the processes of torchrun find each other again after one was killed: ten lines.

torchrun --standalone --nproc-per-node=2 --max-restarts=3 tools/rejoin.py
"""

import os
import signal

import torch.distributed as dist

dist.init_process_group("gloo")  # after a restart: "connectFullMesh failed", or it hangs
dist.barrier()
print(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}: process {dist.get_rank()} is there")
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGKILL)
dist.barrier()
dist.destroy_process_group()
