"""Where a study measures: what the store has is read, what is missing is measured."""

import base64
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cascore.data import ImageSet, load_images
from cascore.errors import InputError
from cascore.evaluation.reference import Reference, load_reference
from cascore.experiment.chain import generate, seeds_from
from cascore.experiment.settings import Data, Experiment
from cascore.metrics import extract_features, frechet_jackknife, real_floor
from cascore.model.loading import Model
from cascore.pixels import encode_png, grid, to_uint8
from cascore.sampling import Samples
from paper.engine.claims import Number
from paper.engine.models import Models
from paper.engine.rows import Rows
from paper.engine.settings import VALIDATION_SEED, Chain, Precision, training_of
from paper.engine.store import Line, Store, machine, row_id

OUTCOMES = ("raw", "denoised")
OBJECTIVES = ("plain", "adversarial")
BATCH = 250
"""Pictures at a time."""
BLOCKS = 10
"""Of the pictures of a sampling seed, for the jackknife."""
SEED_APART = 10**6
"""Between the first pictures of two sampling seeds."""
_NETWORKS = {"unet": "U-Net", "ncsnv2": "NCSNv2", "mlp": "perceptron"}
_REPEATS = 20  # random splits of real images behind a floor

Result = tuple[Mapping[str, Any], Mapping[str, Any]]
"""What was measured, and its provenance, in JSON's own types."""
Draw = Callable[[Model, range], tuple[Samples, Mapping[str, Any]]]
"""Of a model and seeds: samples, and what else to keep in the result."""


@dataclass
class Cost:
    """What a study would take: updates of each training, network calls of each measurement."""

    updates: dict[str, int] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)


class Lab:
    """Measures for a study.

    Args:
        store: of all measurements.
        models: where trained networks come from; None: a lab that only reads.
        cost: counts what is missing instead of measuring it, whose results are then empty or nan.
    """

    def __init__(
        self, store: Store, models: Models | None = None, *, cost: Cost | None = None
    ) -> None:
        self.store, self.models, self.cost = store, models, cost
        self.used: dict[int, Line] = {}
        self.images: Callable[[str, str], ImageSet] = cache(load_images)
        """A split of an image set, loaded once."""
        self._reference: Callable[[str, str], Reference] = cache(self._load_reference)

    def keep(
        self,
        kind: str,
        settings: Mapping[str, Any],
        measure: Callable[[], Result],
        *,
        calls: int = 0,
        experiment: Experiment | None = None,
        enough: Callable[[Mapping[str, Any]], bool] = lambda result: True,
    ) -> Mapping[str, Any]:
        """The result of a measurement of a `kind`, from the store or measured now.

        Args:
            settings: everything that decides the result, in JSON's own types.
            calls: network calls that it takes, for the cost.
            experiment: whose network is measured; its id joins the settings.
            enough: whether a stored result has all that is wanted; else it is measured again and
                what it had is kept.

        Raises:
            InputError: there is none, and this lab only reads.
        """
        settings = self.named(settings, experiment)
        line = self.store.find(kind, settings)
        if line is None or not enough(line["result"]):
            if self.cost is not None:
                self.cost.calls.append(calls)
                if experiment is not None:
                    self.cost.updates[str(settings["experiment"])] = experiment.train.steps
                return {}
            if self.models is None:
                raise InputError(f"no measurement {kind} of {dict(settings)} in the store")
            message = {**settings, **settings.get("sampler", {})}
            self.models.notify(f"{kind}: " + ", ".join(f"{k} {v}" for k, v in message.items()))
            started = time.perf_counter()
            result, provenance = measure()
            seconds = round(time.perf_counter() - started, 2)
            made = {"seconds": seconds, "machine": machine(), **provenance}
            before = {} if line is None else line["result"]
            line = self.store.add(kind, settings, {**before, **result}, made)
        self.used[id(line)] = line
        return dict(line["result"])

    def named(self, settings: Mapping[str, Any], experiment: Experiment | None) -> dict[str, Any]:
        """The settings of a measurement with the id of the experiment whose network it is of."""
        return {**({"experiment": self.store.id_of(experiment)} if experiment else {}), **settings}

    @property
    def made(self) -> str:
        """The machines and versions behind what was read and measured, and how long it took."""
        lines = list(self.used.values())
        machines = sorted({str(line["made"]["machine"]) for line in lines})
        seconds = sum(line["made"]["seconds"] for line in lines)
        return f"{'; '.join(machines)}. {len(lines):,} measurements, {seconds:,.0f} s."

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        assert self.models is not None  # a lab that only reads computes nothing
        return self.models.device

    def model(self, experiment: Experiment) -> Model:
        """The trained network of an experiment."""
        assert self.models is not None
        return self.models.of(experiment)

    @property
    def generate(self) -> Callable[..., Samples]:
        """The library's `generate`, on the lab's device and so many pictures at a time."""
        return partial(generate, device=self.device, batch_size=BATCH)

    def draws(
        self,
        experiment: Experiment,
        chain: Chain | Mapping[str, Any],
        judge: Callable[[Samples], Result],
        *,
        kind: str,
        seeds: Iterable[int],
        count: int,
        more: Mapping[str, Any] | None = None,
        draw: Draw | None = None,
        calls: int = 0,
        enough: Callable[[Mapping[str, Any]], bool] = lambda result: True,
        **tags: Any,
    ) -> Rows:
        """Samples of a network, judged: a row for each sampling seed of `count` pictures.

        Args:
            chain: the sampler; or its settings, where `draw` draws and has so many `calls`.
            judge: says what samples are like, and its provenance.
            kind, enough: as of `keep`.
            more: further settings that decide the result.
            draw: in place of the chain.
            tags: columns of the rows.

        Returns:
            Rows with `model`, `network`, `training` (its seed), `seed`, `nfe`, `row` (the id of the
            measurement), the settings of the sampler, of a chain also `sampler` and `knob`, the
            tags, and what the result holds.
        """

        def measure(seed: int) -> Result:
            model, pictures = self.model(experiment), seeds_of(seed, count)
            extra: Mapping[str, Any] = {}
            if draw is not None:
                samples, extra = draw(model, pictures)
            else:
                assert isinstance(chain, Chain)
                samples = model.draw(pictures, chain.sampler, batch_size=BATCH)
            result, made = judge(samples)
            return {**result, "nfe": samples.nfe, **extra}, {"checkpoint": model.digest, **made}

        schedule, network = experiment.schedule, _NETWORKS[experiment.network.kind]
        if isinstance(chain, Mapping):
            sampler = dict(chain)
        else:
            sampler, calls = chain.settings(schedule), chain.calls(schedule)
            tags = {"sampler": chain.method.upper(), "knob": chain.knob, **tags}
        of = {"model": experiment.name, "network": network, "training": experiment.train.seed}
        tags = {**sampler, **of, "nfe": calls, **tags}
        keep = partial(self.keep, calls=count * calls, experiment=experiment, enough=enough)
        rows = Rows()
        for seed in seeds:
            of = {"sampler": sampler, "count": count, "first_seed": seed * SEED_APART}
            settings = {**(more or {}), **of}
            result = keep(kind, settings, partial(measure, seed))
            row = row_id(kind, self.named(settings, experiment))
            rows.append({**tags, "seed": seed, "row": row, **result})
        return rows

    def distances(
        self,
        experiment: Experiment,
        chain: Chain | Mapping[str, Any],
        *,
        extractors: Sequence[str],
        kind: str = "distances",
        **settings: Any,
    ) -> Rows:
        """Raw and denoised samples of a network against its training images, a row a number.

        `settings` are those of `draws` and tags; so are the rows, but one for each extractor and
        outcome, with `extractor`, `outcome`, `distance` and `standard_error`.
        """

        def enough(result: Mapping[str, Any]) -> bool:
            return all(name in result["distances"] for name in extractors)

        judge = partial(self.frechet, experiment.data.name, extractors)
        of_seeds = self.draws(experiment, chain, judge, kind=kind, enough=enough, **settings)
        rows, missing = Rows(), (math.nan, math.nan)
        for row, extractor, outcome in product(of_seeds, extractors, OUTCOMES):
            distance, error = row.get("distances", {}).get(extractor, {}).get(outcome, missing)
            rest = {name: value for name, value in row.items() if name != "distances"}
            tags = {"extractor": extractor, "outcome": outcome}
            rows.append({**rest, **tags, "distance": distance, "standard_error": error})
        return rows

    def frechet(self, data: str, extractors: Sequence[str], samples: Samples) -> Result:
        """The `distances` of both outcomes with their errors by extractor, and provenance."""
        distances: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in extractors}
        references = {name: self._reference(data, name) for name in extractors}
        for (name, reference), outcome in product(references.items(), OUTCOMES):
            images = to_uint8(getattr(samples, outcome))
            features = extract_features(reference.extractor, images)
            distance = reference.frechet(features, "train")
            distances[name][outcome] = distance.mean, distance.error
        digests = {name: of.extractor.identity.digest for name, of in references.items()}
        made = {"reference": self.images(data, "train").digest, "extractors": digests}
        return {"distances": distances}, made

    def jackknifed(
        self,
        experiment: Experiment,
        chain: Chain | Mapping[str, Any],
        *,
        extractor: str,
        **settings: Any,
    ) -> Rows:
        """Denoised samples of a network against its training images, a row for each sampling seed.

        The settings and the rows are those of `draws`; `values` are the pseudo-values of blocks of
        pictures, whose mean is the distance without its bias (`frechet_jackknife`).
        """

        def judge(samples: Samples) -> Result:
            reference = self._reference(experiment.data.name, extractor)
            features = extract_features(reference.extractor, to_uint8(samples.denoised))
            values = frechet_jackknife(features, reference.moments["train"], blocks=BLOCKS)
            digest = {extractor: reference.extractor.identity.digest}
            made = {"reference": self.images(experiment.data.name, "train").digest}
            return {"values": values.tolist()}, {**made, "extractors": digest}

        more = {"extractor": extractor, "outcome": "denoised", "blocks": BLOCKS}
        return self.draws(experiment, chain, judge, kind="jackknife", more=more, **settings)

    def best_of(
        self, experiment: Experiment, chains: Sequence[Chain], *, count: int, extractor: str
    ) -> tuple[Chain, Rows]:
        """The chain of the lowest denoised distance on the validation seed, and what was tried."""
        rows, how = Rows(), partial(self.distances, experiment, extractors=[extractor])
        for chain in chains:
            rows += how(chain, seeds=[VALIDATION_SEED], count=count)
        lowest = rows.where(outcome="denoised").values()
        return chains[lowest.index(min(lowest))], rows

    def floors(self, data: str, *, count: int, extractors: Sequence[str]) -> dict[str, Number]:
        """What `count` real images score against as many as the training set has, one split."""
        numbers = {}
        for name in extractors:
            result = self._kept_floor(data, count, name)
            numbers[name] = Number(result.get("mean", math.nan), result.get("spread", math.nan))
        return numbers

    def unbiased_floor(self, data: str, count: int, extractor: str) -> Number:
        """What new real images have without the bias of their number, known to ± its error.

        The floor of N images against R is proportional to 1/N + 1/R (`real_floor`): what R leaves
        of it is measured at `count`.
        """
        result = self._kept_floor(data, count, extractor)
        share = count / (count + result.get("reference_count", math.nan))
        error = result.get("spread", math.nan) / math.sqrt(_REPEATS)
        return Number(share * result.get("mean", math.nan), share * error)

    def _kept_floor(self, data: str, count: int, name: str) -> Mapping[str, Any]:
        settings = {"data": data, "count": count, "extractor": name, "repeats": _REPEATS}
        return self.keep("floor", settings, partial(self._floor, data, count, name))

    def _floor(self, data: str, count: int, name: str) -> Result:
        reference = self._reference(data, name)
        features, of = reference.features, reference.extractor.identity
        known, everything = len(features["train"]), torch.cat(list(features.values()))
        how: dict[str, Any] = {"repeats": _REPEATS, "seed": 0, "extractor": of}
        floor = real_floor(everything, count=count, reference_count=known, **how)
        result = {"mean": floor.mean, "spread": floor.spread, "reference_count": known}
        return {**result, "extrapolated": floor.extrapolated}, {"extractors": {name: of.digest}}

    def _load_reference(self, data: str, name: str) -> Reference:
        """Real images as an extractor sees them."""
        return load_reference(Data(name=data), count=2, device=self.device, extractor=name)

    def sheet(
        self, experiment: Experiment, chain: Chain, *, shown: int = 24, columns: int = 12
    ) -> str:
        """The first denoised samples of seed 0 as a PNG in base64."""

        def measure() -> Result:
            model = self.model(experiment)
            images = to_uint8(model.draw(seeds_of(0, shown), chain.sampler).denoised)
            return {"png": _png(images, columns)}, {"checkpoint": model.digest}

        schedule, size = experiment.schedule, {"shown": shown, "columns": columns}
        settings = {"sampler": chain.settings(schedule), "outcome": "denoised", **size}
        calls = shown * chain.calls(schedule)
        result = self.keep("sheet", settings, measure, calls=calls, experiment=experiment)
        return str(result.get("png", ""))

    def real_sheet(self, data: str, *, shown: int = 24, columns: int = 12) -> str:
        """The first test images as a PNG in base64."""

        def measure() -> Result:
            return {"png": _png(self.images(data, "test").images[:shown], columns)}, {}

        settings = {"data": data, "split": "test", "shown": shown, "columns": columns}
        return str(self.keep("sheet", settings, measure).get("png", ""))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, and how its samples are measured.

    Attributes:
        preset: of the plain network; the adversarial one is alike in everything else.
        steps, precision: of training.
        extractors: of the features.
        count: pictures of each measurement.
        seeds: measurements of each chain, with other noise.
    """

    preset: str
    steps: int
    precision: Precision = "bfloat16"
    # A classifier's features hardly move by noise of deviation 0.01, the others do.
    extractors: tuple[str, ...] = ("digits", "random-convolution")
    count: int = 500
    seeds: int = 2

    def experiment(self, objective: str = "plain", training: int = 0) -> Experiment:
        """What is trained."""
        preset = self.preset + "-adversarial" * (objective == "adversarial")
        return training_of(preset, steps=self.steps, seed=training, precision=self.precision)

    @property
    def data(self) -> str:
        """The data set by name."""
        return self.experiment().data.name

    @property
    def how(self) -> dict[str, Any]:
        """How samples are measured, for `Lab.distances`."""
        seeds = range(self.seeds)
        return {"seeds": seeds, "count": self.count, "extractors": self.extractors}

    def distances(
        self, lab: Lab, chain: Chain | Line, objective: str = "plain", training: int = 0, **of: Any
    ) -> Rows:
        """The rows of a chain, `objective` among their tags."""
        experiment = self.experiment(objective, training)
        return lab.distances(experiment, chain, **self.how, **{"objective": objective, **of})

    def floors(self, lab: Lab) -> dict[str, Number]:
        """What as many real images score, by extractor."""
        return lab.floors(self.data, count=self.count, extractors=self.extractors)


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        rows: of all that is reported.
        floors: what real images have, by extractor or by what the study says.
        sheets: of samples, with `label`, `title` and `png`.
        tried: on the validation seed, to choose by.
    """

    rows: Rows
    floors: Mapping[str, Any] = field(default_factory=dict)
    sheets: Rows = field(default_factory=Rows)
    tried: Rows = field(default_factory=Rows)


def seeds_of(seed: int, count: int) -> range:
    """The seeds of the pictures of a sampling seed."""
    return seeds_from(seed * SEED_APART, count)


def _png(images: Tensor, columns: int) -> str:
    return base64.b64encode(encode_png(grid(images, columns=columns, padding=1))).decode()
