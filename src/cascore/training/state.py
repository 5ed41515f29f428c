"""Everything stateful about a training run, by name.

With keyed draws there is no random stream and no position in the data: (seed, step) is both.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from cascore.denoiser import instead_of
from cascore.errors import InputError
from cascore.training.parallel import Workers


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Adam:
    """Adam, with a first beta that may be negative as the authors' discriminator has it (-0.5).

    With weight decay it is AdamW: each step also multiplies the weights by 1 - rate x decay.

    Raises:
        InputError: learning rate not positive, or a beta outside (-1, 1) and [0, 1).
    """
    if not (learning_rate > 0 and -1 < betas[0] < 1 and 0 <= betas[1] < 1):
        raise InputError(
            f"Adam needs learning rate > 0, -1 < beta1 < 1 and 0 <= beta2 < 1,"
            f" not {learning_rate} and {betas}"
        )
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
    # Fused: one kernel in place of a dozen, four times as fast on a processor.
    optimizer = kind(
        parameters, lr=learning_rate, betas=(0.0, betas[1]), weight_decay=weight_decay, fused=True
    )
    for group in optimizer.param_groups:
        group["betas"] = betas  # only the constructor refuses a negative beta1
    return optimizer


class TrainState:
    """What changes while a model trains.

    Attributes:
        denoiser: H(x, sigma), which is trained.
        optimizer: Adam of the denoiser; by default with learning rate 1e-3.
        seed: Key of every draw, 0 <= seed < 2^64.
        discriminator: D in hybrid training, else None.
        discriminator_optimizer: Adam of D; by default with the authors' betas (-0.5, 0.9) and
            learning rate 1e-4.
        step: Updates of the denoiser so far.
        average: The denoiser with the average of its weights (EMA), which samples.
        profiles: More averages by their lengths, from which others are made (`training.ema`).
        sharded: Whether this process holds a part of the denoiser and its averages alone.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int = 0,
        *,
        discriminator: nn.Module | None = None,
        discriminator_optimizer: torch.optim.Optimizer | None = None,
        profiles: Sequence[float] = (),
    ) -> None:
        if not isinstance(denoiser, nn.Module):
            raise InputError(
                "a TrainState is of a denoiser that is a torch.nn.Module, such as"
                f" UnconditionalDenoiser(network), not {type(denoiser).__name__}"
                f"{instead_of(denoiser)}"
            )
        if discriminator is None and discriminator_optimizer is not None:
            raise InputError("a discriminator's optimizer comes with a discriminator")
        if discriminator is not None and discriminator_optimizer is None:
            weights = discriminator.parameters()
            discriminator_optimizer = adam(weights, learning_rate=1e-4, betas=(-0.5, 0.9))
        self.denoiser, self.discriminator = denoiser, discriminator
        self.optimizer = adam(denoiser.parameters()) if optimizer is None else optimizer
        self.discriminator_optimizer = discriminator_optimizer
        for given in (self.optimizer, self.discriminator_optimizer):
            _require_adam(given)
        self.seed, self.step, self.sharded = seed, 0, False
        self.average = copy.deepcopy(denoiser).requires_grad_(False)
        self.profiles = {length: copy.deepcopy(self.average) for length in profiles}

    def shard(self, workers: Workers, *, device: torch.device) -> None:
        """Leave each process its part of the denoiser, of its averages and moments (FSDP2).

        For a state before its first step, or before `load_tensors`. The discriminator stays whole.

        Raises:
            InputError: weights in another order than PyTorch's usual one, which cannot be cut.
        """
        if any(not weight.is_contiguous() for weight in self.denoiser.parameters()):
            raise InputError("weights that are channels-last cannot be sharded: leave that out")
        from cascore.training.sharding import shard

        names = {weight: name for name, weight in self.denoiser.named_parameters()}
        for module in (self.denoiser, self.average, *self.profiles.values()):
            shard(module, count=workers.count, device=device)
        weights = dict(self.denoiser.named_parameters())
        for group in self.optimizer.param_groups:
            group["params"] = [weights[names[weight]] for weight in group["params"]]
        if self.discriminator is not None:
            self.discriminator.to(device)
        self.sharded = True

    def start_from(self, other: nn.Module) -> list[str]:
        """Take over the weights of another denoiser, where name and shape are the same.

        For a training that begins where another one ended, on other data perhaps. What is measured
        on the data, such as the mean of EDM's form, stays this one's.

        Returns:
            What does not fit in words, that is weights that stay as they were made, and those of
            the other that have no place here.

        Raises:
            InputError: a state that was trained already, or nothing that fits.
        """
        if self.step:
            raise InputError(
                f"this state is at step {self.step}: only a new one starts from others"
            )
        theirs = {_bare(name): weight for name, weight in other.named_parameters()}
        fitting, unlike = {}, []
        for name, weight in self.denoiser.named_parameters():
            given = theirs.pop(_bare(name), None)
            if given is None:
                unlike.append(f"{name} stays new: the other has none")
            elif given.shape != weight.shape:
                shapes = f"{list(weight.shape)} here, {list(given.shape)} there"
                unlike.append(f"{name} stays new: it is {shapes}")
            else:
                fitting[name] = given
        if not fitting:
            raise InputError(
                "nothing of the other model fits this network: give this one its settings"
                f" ({'; '.join(unlike[:3])}; ...)"
            )
        with torch.no_grad():
            for module in (self.denoiser, self.average):
                for name, weight in module.named_parameters():
                    if name in fitting:
                        weight.copy_(fitting[name])
        return unlike + [f"{name} of the other has no place here" for name in theirs]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by name, sharing memory with it."""
        named = self._weights()
        for prefix, module, optimizer in self._optimizers():
            for name, parameter in module.named_parameters():
                for key, value in optimizer.state[parameter].items():
                    named[f"{prefix}.{name}.{key}"] = value
        return named

    def whole_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """As `tensors`, each in full: of a sharded state gathered one after the other.

        All processes ask together.
        """
        if not self.sharded:
            yield from self.tensors().items()
            return
        from cascore.training.sharding import whole

        for name, tensor in self.tensors().items():
            yield name, whole(tensor)

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over every tensor of another state of the same shape.

        Raises:
            InputError: tensors that are missing, surplus or of another shape, listed; then nothing
                was taken over.
        """
        started = any(name.startswith("optimizer.") for name in tensors)
        slots = [
            (f"{prefix}.{name}", optimizer, parameter)
            for prefix, module, optimizer in self._optimizers()
            for name, parameter in module.named_parameters()
        ]
        moments = {
            name: _new_moments(parameter, optimizer)
            for name, optimizer, parameter in slots
            if started
        }
        current = self._weights() | {
            f"{name}.{key}": value for name, slot in moments.items() for key, value in slot.items()
        }
        require_same_shapes(current, tensors, what="the checkpoint")
        with torch.no_grad():
            for name, value in tensors.items():
                self._take_over(current[name], value)
        for name, optimizer, parameter in slots:
            if started:
                optimizer.state[parameter] = moments[name]
            else:
                optimizer.state.pop(parameter, None)

    def _take_over(self, tensor: Tensor, values: Tensor) -> None:
        if self.sharded:
            from cascore.training.sharding import take_over

            take_over(tensor, values)
        else:
            tensor.copy_(values)

    def _weights(self) -> dict[str, Tensor]:
        return {
            f"{prefix}.{name}": value
            for prefix, module in self._modules()
            for name, value in module.state_dict().items()
        }

    def _modules(self) -> Iterator[tuple[str, nn.Module]]:
        yield "denoiser", self.denoiser
        yield "ema", self.average
        for length, average in self.profiles.items():
            yield profile_prefix(length), average
        if self.discriminator is not None:
            yield "discriminator", self.discriminator

    def _optimizers(self) -> Iterator[tuple[str, nn.Module, torch.optim.Optimizer]]:
        yield "optimizer", self.denoiser, self.optimizer
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            yield "discriminator_optimizer", self.discriminator, self.discriminator_optimizer


def profile_prefix(length: float) -> str:
    """What the names of a power-function average's tensors begin with."""
    return f"profile-{length:g}"


def _bare(name: str) -> str:
    """The name of a weight within the network, whatever wraps that."""
    return name.rpartition("network.")[2]


def _require_adam(optimizer: torch.optim.Optimizer | None) -> None:
    """Only Adam's moments are saved and restored, so no other optimizer may train here."""
    if optimizer is None:
        return
    plain = isinstance(optimizer, torch.optim.Adam)
    if not plain or any(group["amsgrad"] for group in optimizer.param_groups):
        raise InputError(
            f"a training state keeps the moments of Adam (or AdamW) without amsgrad, not of"
            f" {type(optimizer).__name__}; make the optimizer with cascore.training.adam"
        )


def _new_moments(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What Adam keeps of a parameter, before its first step."""
    # Where it counts its steps: a fused kernel refuses another device, a plain one its own.
    counted_there = optimizer.defaults.get("fused") or optimizer.defaults.get("capturable")
    return {
        "step": torch.zeros((), device=parameter.device if counted_there else "cpu"),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def require_same_shapes(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], *, what: str
) -> None:
    """Raise InputError that lists what is missing, surplus or misshapen in `given`."""
    faults = [f"missing {name}" for name in sorted(expected.keys() - given.keys())]
    faults += [f"surplus {name}" for name in sorted(given.keys() - expected.keys())]
    faults += [
        f"{name} is {list(given[name].shape)}, not {list(expected[name].shape)}"
        for name in sorted(expected.keys() & given.keys())
        if expected[name].shape != given[name].shape
    ]
    if faults:
        shown = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
        raise InputError(f"{what} does not fit this model: {shown}")
