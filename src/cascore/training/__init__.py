"""Training: state, batches, the two steps, the loop, checkpoints."""

from cascore.training.batches import Batches as Batches
from cascore.training.batches import KeyedBatches as KeyedBatches
from cascore.training.loop import Metrics as Metrics
from cascore.training.loop import train as train
from cascore.training.pace import Pace as Pace
from cascore.training.parallel import ALONE as ALONE
from cascore.training.parallel import PATIENCE as PATIENCE
from cascore.training.parallel import Workers as Workers
from cascore.training.parallel import held_by_first as held_by_first
from cascore.training.parallel import joined_processes as joined_processes
from cascore.training.state import TrainState as TrainState
from cascore.training.state import adam as adam
from cascore.training.step import TrainingDivergedError as TrainingDivergedError
