"""Training: state, batches, the two steps, the loop, checkpoints."""

from cascore.training.batches import Batches, KeyedBatches
from cascore.training.loop import Metrics, train
from cascore.training.parallel import Workers, joined_processes
from cascore.training.state import TrainState, adam
from cascore.training.step import TrainingDivergedError

__all__ = [
    "Batches",
    "KeyedBatches",
    "Metrics",
    "TrainState",
    "TrainingDivergedError",
    "Workers",
    "adam",
    "joined_processes",
    "train",
]
