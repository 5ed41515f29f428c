from cascore.denoiser import ConditionalDenoiser as ConditionalDenoiser
from cascore.denoiser import Denoiser as Denoiser
from cascore.denoiser import UnconditionalDenoiser as UnconditionalDenoiser
from cascore.denoiser import rescaled as rescaled
from cascore.denoiser import score as score
from cascore.errors import InputError as InputError
from cascore.losses import corrupt as corrupt
from cascore.losses import dsm_loss as dsm_loss
from cascore.losses import hybrid_loss as hybrid_loss
from cascore.metrics import frechet_distance as frechet_distance
from cascore.model.loading import Model as Model
from cascore.model.loading import load as load
from cascore.noise import KeyedNoise as KeyedNoise
from cascore.sampling import Samples as Samples
from cascore.sampling import annealed_langevin as annealed_langevin
from cascore.sampling import consistent_annealed as consistent_annealed
from cascore.sampling import initial_noise as initial_noise
from cascore.schedule import centred_sigmas as centred_sigmas
from cascore.schedule import geometric_sigmas as geometric_sigmas
from cascore.schedule import karras_sigmas as karras_sigmas
from cascore.schedule import stretch as stretch
from cascore.theory import EmpiricalDenoiser as EmpiricalDenoiser
from cascore.training import TrainState as TrainState
from cascore.training import train as train

__version__: str
