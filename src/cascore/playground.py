"""What the page of `cascore play` is answered: one chain of a model, and the noise of its steps.

A request comes as JSON and the answer goes as lines of JSON while the chain is computed, so that
its film appears as it is made. `cascore.cli.play` serves both, and `playground.html` beside this
file, the page.
"""

import base64
import json
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cascore.denoiser import is_blind
from cascore.errors import InputError, nearest
from cascore.experiment.chain import seeds_from
from cascore.experiment.settings import Chain, Sampler, Spacing
from cascore.model.loading import Model, load
from cascore.model.pretrained import shipped_folders, spoken_name
from cascore.pixels import encode_png, grid, to_uint8
from cascore.plain import from_plain, parse_json, to_plain
from cascore.ranges import require_in_range
from cascore.sampling import consistent_steps, langevin_steps
from cascore.theory import blind_noise_std, noise_std

PAGE = Path(__file__).with_suffix(".html")

_FRAMES = 100  # of a film
_FILM_BYTES = 2**26  # of its pixels, before they are compressed
_EXCESS = 1.05  # noise of the first x over sigma_1, as in docs/blindness.md


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model by name, and the settings of one chain, as `Model.sample` takes them."""

    model: str
    count: int = 16
    """How many pictures; picture i has seed + i."""
    seed: int = 0
    calls: int | None = None
    order: Literal[1, 2] | None = None
    kappa: float | None = None
    spacing: Spacing | None = None
    label: str | None = None
    """The name of a class, or all."""
    guidance: float = 1.0

    def __post_init__(self) -> None:
        require_in_range(vars(self), part="play")


def read_request(content: bytes) -> Request:
    """A request of JSON text.

    Raises:
        InputError: No such text, an unknown name, or a value of another kind or out of its range.
    """
    return from_plain(Request, parse_json(content, "the request"), "request")


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The first line: what is being drawn."""

    blind: bool
    """Whether the network does not see sigma."""
    classes: tuple[str, ...]
    """That the model can be asked for."""
    shape: tuple[int, ...]
    columns: int
    """Of the sheets; their pictures touch."""
    calls: int


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A call of the chain: x where H was evaluated, and H, each a sheet (PNG in base64)."""

    call: int
    sigma: float
    x: str
    denoised: str


@dataclass(frozen=True, kw_only=True)
class StepNoise:
    """A step, and the noise in x before it under perfect networks, each over its sigma.

    They start with 5 % too much of it. `aware` sees sigma (Proposition 2), `blind` does not
    (Proposition 4), `langevin` sees it, and takes a step of Algorithm 1 at each of the same levels
    (Proposition 1); None where there is one level, for which Technique 4 has no step size.
    """

    sigma: float
    eta: float
    added: float
    """Deviation of the noise that the step adds."""
    aware: float
    blind: float
    langevin: float | None


@dataclass(frozen=True, kw_only=True)
class Done:
    """The last line: both samples of the chain, and what is known of it."""

    raw: str
    denoised: str
    nfe: int
    seconds: float
    steps: tuple[StepNoise, ...]
    command: str
    """The command that draws the same pictures."""


Line = Begun | Frame | Done


def line_text(line: Line) -> str:
    """A line of the answer: an object with one entry, named as its kind is."""
    return json.dumps({type(line).__name__.lower(): to_plain(line)}, allow_nan=False) + "\n"


def draw(
    request: Request, model: Model, *, check: Callable[[], None], emit: Callable[[Line], None]
) -> None:
    """Draw what `model.sample` draws at the same settings, telling of it on the way.

    `check` is called before each step and may raise, which ends the chain; `emit` gets `Begun`, a
    `Frame` for each call (of long chains and large pictures for some of them), and `Done`.

    Raises:
        InputError: Settings that do not fit the model, before the first line; pixels that are NaN.
    """
    started, count = time.monotonic(), request.count
    asked = Sampler(
        calls=request.calls, order=request.order, kappa=request.kappa, spacing=request.spacing
    )
    sampler = model.advised(asked).sampler
    chain, labels = model.chain(sampler), model.labels(request.label, count)
    rows = len(model.classes) if request.label == "all" else round(count**0.5)
    columns = -(-count // rows)
    pair = 2 * count * torch.Size(model.shape).numel()  # bytes of a frame
    every = max(-(-chain.calls // _FRAMES), -(-chain.calls * pair // _FILM_BYTES))
    sigmas: list[float] = []

    def sheet(images: Tensor) -> str:
        content = encode_png(grid(to_uint8(images), columns=columns, padding=0))
        return base64.b64encode(content).decode("ascii")

    def watch(step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        check()
        if step == 0:
            emit(
                Begun(
                    blind=is_blind(model.denoiser),
                    classes=model.classes,
                    shape=model.shape,
                    columns=columns,
                    calls=chain.calls,
                )
            )
        sigmas.append(sigma)
        if step % every == 0 or step == chain.calls - 1:
            emit(Frame(call=step + 1, sigma=sigma, x=sheet(x), denoised=sheet(denoised)))

    samples = model.draw(
        seeds_from(request.seed, count),
        sampler,
        labels=labels,
        guidance=request.guidance,
        callback=watch,
    )
    emit(
        Done(
            raw=sheet(samples.raw),
            denoised=sheet(samples.denoised),
            nfe=samples.nfe,
            seconds=round(time.monotonic() - started, 2),
            steps=step_noise(sigmas, chain),
            command=_command(request, chain, spoken_name(model.folder)),
        )
    )


def step_noise(sigmas: list[float], chain: Chain) -> tuple[StepNoise, ...]:
    """Propositions 1, 2 and 4 at the levels of a chain of Algorithm 2."""
    levels = torch.tensor(sigmas, dtype=torch.float64)
    steps = consistent_steps(levels, kappa=chain.kappa, order=chain.order)
    start = _EXCESS * sigmas[0]
    aware = noise_std(steps, start=start).before / levels
    blind = blind_noise_std(steps, start=start).before / levels
    langevin: list[float] | list[None] = [None]
    if len(sigmas) > 1:
        langevin = (noise_std(langevin_steps(levels), start=start).before / levels).tolist()
    return tuple(
        StepNoise(
            sigma=step.sigma, eta=step.eta, added=step.noise, aware=a, blind=b, langevin=other
        )
        for step, a, b, other in zip(steps, aware.tolist(), blind.tolist(), langevin, strict=True)
    )


def _command(request: Request, chain: Chain, name: str) -> str:
    words = ["cascore", "sample", name, "--count", request.count, "--seed", request.seed]
    words += ["--calls", chain.calls, "--order", chain.order, "--kappa", chain.kappa]
    words += ["--spacing", chain.spacing]
    if request.label is not None:
        words += ["--label", request.label, "--guidance", request.guidance]
    return shlex.join(map(str, words))


class Models:
    """The models that the page offers, by name: a given one, and those that come with cascore."""

    def __init__(self, given: Model, *, notify: Callable[[str], None]) -> None:
        """The others are loaded when they are first asked for, onto the device of the given one.

        Raises:
            InputError: It draws points, or pictures of other than 1 or 3 channels.
        """
        if len(given.shape) != 3 or given.shape[0] not in (1, 3):
            raise InputError(
                f"{spoken_name(given.folder)} draws data of shape {list(given.shape)}; the page"
                " shows grey or RGB pictures, [1 or 3, height, width]"
            )
        name = spoken_name(given.folder)
        self.names = (name, *(other for other in shipped_folders() if other != name))
        self._loaded, self._notify = {name: given}, notify

    def __getitem__(self, name: str) -> Model:
        """The model of a name, which is never taken for a path; InputError if it is none."""
        if name not in self.names:
            raise InputError(
                f"there is no model {name!r:.60}{nearest(name[:60], self.names)}; the page has"
                f" {', '.join(self.names)}"
            )
        if name not in self._loaded:
            device = self._loaded[self.names[0]].device
            self._loaded[name] = load(shipped_folders()[name], device=device, notify=self._notify)
        return self._loaded[name]


class SupersededError(Exception):
    """A newer request came."""


class Turns:
    """One computation at a time, that of the newest request: older ones end, and none waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest, self._busy = 0, False

    @contextmanager
    def newest(self) -> Iterator[Callable[[], None]]:
        """A turn, as soon as the one before has ended; a check to be called often.

        The check raises SupersededError once there is a newer one, as the wait for the turn does.
        """
        with self._changed:
            self._newest += 1
            mine = self._newest
            self._changed.notify_all()

            def check() -> None:
                if self._newest != mine:
                    raise SupersededError("a newer request came before this one was done")

            self._changed.wait_for(lambda: self._newest != mine or not self._busy)
            check()
            self._busy = True
        try:
            yield check
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
