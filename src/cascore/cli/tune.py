"""`cascore tune`: order and kappa for a model and a number of network calls."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cascore.cli.common import Device, ModelName, plain_console
from cascore.errors import MissingExtraError
from cascore.experiment.settings import Sampler
from cascore.files import replaced_folder
from cascore.model.pretrained import find_model, is_shipped, place_for, spoken_name
from cascore.progress import Display
from cascore.stats import estimate

if TYPE_CHECKING:
    from cascore.evaluation.evaluate import EvaluationSettings
    from cascore.evaluation.reference import Reference
    from cascore.evaluation.search import Candidate, SearchResult
    from cascore.model.advice import Choice
    from cascore.model.loading import Model

_POINTS, _ROUNDS = 7, 3


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Find order and kappa for a model and a number of network calls, and say what that gains.

    Example: cascore tune runs/digits --calls 12

    Order 1 is tried at geometric levels, order 2 at centred ones, each as `sample` takes them. All
    candidates are measured on the same seeds, and the best meets the default again on fresh ones;
    within the spread the default is kept. `sample` and `evaluate` then take what was chosen
    (sampler.json beside the model) for that number of calls, where no other setting is given.
    """

    path: ModelName
    """Folder of a run, a model folder, or the name of a model that comes with cascore."""
    calls: int = 12
    """Network calls of a chain."""
    orders: tuple[Literal[1, 2], ...] = (1, 2)
    """Orders that are tried."""
    count: int = 256
    """Pictures of a block."""
    blocks: int = 4
    """Blocks of each candidate; their differences give the spread. As many more at the end."""
    seed: int = 1_000_000
    """Of the first picture; away from those that evaluations judge."""
    data: str | None = None
    """Real images, as for `evaluate`; default: the model's own."""
    root: str | None = None
    """Folder of the real images' files, where they need one, and of inception."""
    extractor: str | None = None
    """As for `evaluate`; default: the data set's classifier, else random-convolution."""
    checkpoint: str = "newest"
    """Of a run: newest, best (by the evaluations during training), or a step."""
    batch_size: int = 256
    """Pictures at a time."""
    out: Path | None = None
    """New folder for record and picture (default: in tuning/ of the model, or tuning/NAME)."""
    device: Device = "auto"
    """Where to compute."""

    def run(self, typed: str) -> int:
        """Search, write record, picture and `sampler.json`, and say what tuning gains."""
        from cascore.evaluation.evaluate import EvaluationSettings, reference_for
        from cascore.evaluation.search import search
        from cascore.evaluation.tune import default_candidate, frechet_objective, largest_kappa
        from cascore.experiment import build
        from cascore.experiment.chain import resolved
        from cascore.experiment.outputs import file_name, require_new
        from cascore.model.advice import ADVICE, write_choice
        from cascore.model.loading import load

        settings = EvaluationSettings(
            path=find_model(self.path),
            data=self.data,
            root=self.root,
            extractor=self.extractor,
            checkpoint=self.checkpoint,
            first_seed=self.seed,
            count=self.count,
            batch_size=self.batch_size,
        )
        path, calls, orders, blocks = settings.path, self.calls, self.orders, self.blocks
        display, device, started = Display(), build.select_device(self.device), time.monotonic()
        model = load(path, device=device, checkpoint=self.checkpoint)
        largest = largest_kappa(model.experiment.schedule, calls=calls)
        reference = reference_for(settings, model, device=device)
        untuned = resolved(Sampler(calls=calls), model.experiment.schedule)
        extractor = reference.extractor.identity.name
        words = (
            f"{calls} calls orders {' '.join(map(str, orders))} blocks {blocks} count"
            f" {self.count} seed {self.seed} step {model.step}"
            f" {untuned.spacing} levels {extractor}"
        )
        folder = self.out or place_for(path, "tuning") / file_name(words)
        require_new(folder)

        def tell(candidate: "Candidate", values: Sequence[float]) -> None:
            distance = estimate(values)
            display.say(f"{candidate}: {distance.mean:.4g} ± {distance.error:.2g}")

        display.say(
            f"Fréchet distance of {blocks} × {self.count} denoised samples in {calls} calls,"
            f" features of {extractor}; kappa from 1 to {largest:.3g}"
        )
        result = search(
            frechet_objective(
                model, reference, calls=calls, first_seed=self.seed, batch_size=self.batch_size
            ),
            default=default_candidate(model.experiment.schedule, calls=calls),
            orders=orders,
            largest=largest,
            points=_POINTS,
            rounds=_ROUNDS,
            blocks=blocks,
            watch=tell,
        )
        record = {
            **_provenance(settings, reference, model),
            "calls": calls,
            "orders": list(orders),
            "blocks": blocks,
            "largest_kappa": largest,
            "untuned": asdict(untuned),
            "points": _POINTS,
            "rounds": _ROUNDS,
            **_answer(result),
            "seconds": round(time.monotonic() - started, 1),
            "command": typed,
        }
        name = spoken_name(path)
        title = f"{name}, step {model.step}, {calls} network calls"
        no_picture = _write(folder, result, reference, record=record, title=title)
        advice = (folder if is_shipped(path) else path) / ADVICE
        write_choice(advice, calls, _choice(result, extractor, model, calls=calls))
        for line in outcome(result, name=name, calls=calls):
            display.say(line)
        if no_picture is not None:
            display.say(f"no picture: {no_picture}")
        display.say(f"{advice}, record and picture in {folder}")
        plain_console().print(folder)
        return 0


def _write(
    folder: Path,
    result: "SearchResult",
    reference: "Reference",
    *,
    record: Mapping[str, object],
    title: str,
) -> MissingExtraError | None:
    """Record and picture in a new folder; what was missing for a picture, a help and no need."""
    from cascore.evaluation.tune import tuning_chart
    from cascore.experiment.outputs import write_record

    with replaced_folder(folder) as temporary:
        write_record(temporary / "tuning.json", record)
        floor = reference.floors[reference.split]
        try:
            tuning_chart(result, temporary / "curve.png", title=title, floor=floor)
        except MissingExtraError as error:
            return error
    return None


def _provenance(
    settings: "EvaluationSettings", reference: "Reference", model: "Model"
) -> dict[str, object]:
    """What the search follows from, beside its own settings."""
    import torch

    facts, floor = reference.facts[reference.split], reference.floors[reference.split]
    return {
        "model": spoken_name(settings.path),
        "weights": model.digest,
        "step": model.step,
        "experiment": asdict(model.experiment),
        "metric": "frechet",
        "form": "denoised",
        "reference": {"name": facts.name, "split": reference.split, "digest": facts.digest},
        "extractor": asdict(reference.extractor.identity),
        "floor": None if floor is None else asdict(floor),
        "first_seed": settings.first_seed,
        "count": settings.count,
        "batch_size": settings.batch_size,
        "threads": torch.get_num_threads(),
    }


def _answer(result: "SearchResult") -> dict[str, object]:
    return {
        "curve": [
            {
                **asdict(candidate),
                "values": values,
                "over_default": asdict(result.against_default(candidate)),
            }
            for candidate, values in sorted(result.curve.items())
        ],
        "default": asdict(result.default),
        "best": asdict(result.best),
        "fresh": [
            {**asdict(candidate), "values": values} for candidate, values in result.fresh.items()
        ],
        "gain": asdict(result.difference),
        "choice": asdict(result.choice),
    }


def _choice(result: "SearchResult", extractor: str, model: "Model", *, calls: int) -> "Choice":
    from cascore.evaluation.tune import sampler_of
    from cascore.experiment.chain import resolved
    from cascore.model.advice import Choice

    tuned = result.choice != result.default
    chain = resolved(sampler_of(result.choice, calls=calls), model.experiment.schedule)
    return Choice(
        order=chain.order,
        kappa=result.choice.kappa,
        spacing=chain.spacing,
        weights=model.digest,
        extractor=extractor,
        gain=result.difference.mean if tuned else 0.0,
        gain_error=result.difference.error,
        tuned=tuned,
    )


def outcome(result: "SearchResult", *, name: str, calls: int) -> list[str]:
    """What was found, what it gains, and what to type to have it of the model of that name."""
    means = {candidate: statistics.fmean(values) for candidate, values in result.fresh.items()}
    untuned, gain = means[result.default], result.difference
    spread = f"{gain.mean:.3g} ± {gain.error:.2g} (± is one standard error)"
    if result.best == result.default:
        return [f"untuned is best: {result.default}, {untuned:.4g} on fresh seeds"]
    compared = (
        f"on fresh seeds {result.best} scores {means[result.best]:.4g}, untuned ({result.default})"
        f" {untuned:.4g}: a difference of {spread}"
    )
    if result.choice == result.default:
        return [compared, "no better that can be told: untuned is kept, never tuning loses nothing"]
    share = f"{gain.mean / untuned:.0%} of the distance" if untuned > 0 else "all of it"
    flags = f"--calls {calls} --order {result.choice.order} --kappa {result.choice.kappa:g}"
    return [
        compared,
        f"tuned: {result.choice}; never tuning loses {share}",
        f"the same by hand: cascore sample {name} {flags}",
    ]
