"""`cascore tune`: order and kappa for a model and a number of network calls."""

import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cascore.cli import options
from cascore.cli.common import display_of, plain_console, to_type
from cascore.errors import MissingExtraError
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.files import replaced_folder, require_new
from cascore.locks import one_writer
from cascore.model.pretrained import find_model, is_shipped, place_for, spoken_name
from cascore.plain import write_json
from cascore.progress import Display
from cascore.stats import estimate

if TYPE_CHECKING:
    from cascore.evaluation.reference import Reference
    from cascore.evaluation.search import Candidate, SearchResult
    from cascore.model.loading import Model
    from cascore.training import Workers


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Find order and kappa for a model and a number of network calls, and say what that gains.

    Example: cascore tune runs/digits --calls 12

    Order 1 is tried at geometric levels, order 2 at centred ones, each as `sample` takes them. All
    candidates are measured on the same seeds, and the best meets the default again on fresh ones;
    within the spread the default is kept. `sample` and `evaluate` then take what was chosen
    (sampler.json beside the model) for that number of calls, where no other setting is given.
    """

    path: options.ModelName
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
    """Real images: a data set, folder:PATH or statistics (.npz); default: the model's own."""
    root: options.Root = None
    extractor: options.Extractor = None
    checkpoint: options.Checkpoint = "auto"
    batch_size: options.BatchSize = 256
    out: Path | None = None
    """New folder for record and picture (default: in tuning/ of the model, or tuning/NAME)."""
    device: options.Device = "auto"

    def run(self, typed: str) -> int:
        """Search, write record, picture and `sampler.json`, and say what tuning gains."""
        from cascore.evaluation.evaluate import reference_for
        from cascore.experiment.build import select_device
        from cascore.experiment.outputs import file_name
        from cascore.model.loading import load
        from cascore.model.wide import ShareDone, discard_parts
        from cascore.training import PATIENCE, held_by_first, joined_processes

        path, device = find_model(self.path), select_device(self.device)
        with joined_processes(device, patience=PATIENCE) as (device, workers):
            display = display_of(workers)
            model = load(path, device=device, checkpoint=self.checkpoint, notify=display.say)
            settings = EvaluationSettings(
                path=path,
                data=self.data,
                root=self.root,
                extractor=self.extractor,
                count=self.count,
            )
            reference = reference_for(settings, model, device=device)
            words = (
                f"{self.calls} calls orders {' '.join(map(str, self.orders))} blocks {self.blocks}"
                f" count {self.count} seed {self.seed} step {model.step}"
                f" {model.chain(Sampler(calls=self.calls)).spacing} levels"
                f" {reference.extractor.identity.name}"
            )
            folder = self.out or place_for(path, "tuning") / file_name(words)
            lock = one_writer(folder, "tuning")
            with suppress(ShareDone), held_by_first(lock, workers, what=folder, device=device):
                if (folder / "tuning.json").is_file() and workers.rank == 0:
                    discard_parts(folder)  # what a kill left of its making
                require_new(folder)
                self._tune(path, model, reference, folder, workers, typed)
        return 0

    def _tune(
        self,
        path: Path,
        model: "Model",
        reference: "Reference",
        folder: Path,
        workers: "Workers",
        typed: str,
    ) -> None:
        """Search, all processes together; the first one writes and tells."""
        from cascore.evaluation.reference import seen_widely
        from cascore.evaluation.tune import choice_of, tuning_chart
        from cascore.experiment.outputs import software
        from cascore.model.advice import ADVICE, write_choice
        from cascore.model.wide import parts_beside

        display, calls = display_of(workers), self.calls
        name, extractor = spoken_name(path), reference.extractor.identity.name
        no_picture, advice = None, (folder if is_shipped(path) else path) / ADVICE
        with parts_beside(folder) as parts:
            reference = seen_widely(
                reference, parts, device=model.device, workers=workers, display=display
            )
            started = time.monotonic()
            result = self._search(model, reference, parts, workers, display)
            record = {
                **self._record(result, model, reference),
                "seconds": round(time.monotonic() - started, 1),
                "untuned": asdict(model.chain(Sampler(calls=calls))),
                "command": typed,
                "software": software(),
            }
            choice = choice_of(result, model, extractor=extractor, calls=calls)
            with replaced_folder(folder) as temporary:
                write_json(temporary / "tuning.json", {"model": name, **record})
                title = f"{name}, step {model.step}, {calls} network calls"
                floor = reference.floors[reference.split]
                try:
                    tuning_chart(result, temporary / "curve.png", title=title, floor=floor)
                except MissingExtraError as error:  # a picture is a help and no need
                    no_picture = error
                # Before the folder is there: a tuning that was killed can be repeated.
                write_choice((temporary if is_shipped(path) else path) / ADVICE, calls, choice)
        for line in outcome(result, name=name, calls=calls):
            display.say(line)
        if no_picture is not None:
            display.say(f"no picture: {no_picture}")
        display.say(f"{advice}, record and picture in {folder}")
        plain_console().print(folder)

    @property
    def _seeds(self) -> dict[str, int]:
        return {"first_seed": self.seed, "batch_size": self.batch_size}

    @property
    def _grid(self) -> dict[str, int]:
        return {"blocks": self.blocks, "points": 7, "rounds": 3}

    def _search(
        self,
        model: "Model",
        reference: "Reference",
        parts: Path,
        workers: "Workers",
        display: Display,
    ) -> "SearchResult":
        """Search with what all processes draw and see; the first one goes on."""
        from cascore.denoiser import is_blind
        from cascore.evaluation.search import search
        from cascore.evaluation.tune import (
            default_candidate,
            frechet_objective,
            largest_kappa,
            shared_objective,
        )
        from cascore.model.wide import first_goes_on

        calls, schedule = self.calls, model.experiment.schedule
        largest = largest_kappa(schedule, calls=calls)
        display.say(
            f"Fréchet distance of {self.blocks} × {self.count} denoised samples in {calls} calls,"
            f" features of {reference.extractor.identity.name}; kappa from 1 to {largest:.3g}"
        )

        def tell(candidate: "Candidate", values: Sequence[float]) -> None:
            distance = estimate(values)
            display.say(f"{candidate}: {distance.mean:.4g} ± {distance.error:.2g}")

        decides = {
            "weights": model.digest,
            "schedule": asdict(schedule),
            "calls": calls,
            "count": self.count,
            **self._seeds,
            "extractor": asdict(reference.extractor.identity),
            "reference": [fact.digest for fact in reference.facts.values()],
            "device": model.device.type,
        }
        objective, share = shared_objective(
            frechet_objective(model, reference, calls=calls, **self._seeds),
            parts,
            decides,
            workers=workers,
            display=display,
        )
        result = search(
            objective,
            default=default_candidate(schedule, calls=calls, blind=is_blind(model.denoiser)),
            orders=self.orders,
            largest=largest,
            watch=tell,
            ahead=share,
            **self._grid,
        )
        first_goes_on(workers)
        return result

    def _record(
        self, result: "SearchResult", model: "Model", reference: "Reference"
    ) -> dict[str, object]:
        """All that the choice follows from."""
        import torch

        from cascore.evaluation.tune import largest_kappa

        facts, floor = reference.facts[reference.split], reference.floors[reference.split]
        return {
            "weights": model.digest,
            "step": model.step,
            "experiment": asdict(model.experiment),
            "metric": "frechet",
            "form": "denoised",
            "reference": {"name": facts.name, "split": reference.split, "digest": facts.digest},
            "extractor": asdict(reference.extractor.identity),
            "floor": None if floor is None else asdict(floor),
            "count": self.count,
            **self._seeds,
            "threads": torch.get_num_threads(),
            "calls": self.calls,
            "orders": self.orders,
            **self._grid,
            "largest_kappa": largest_kappa(model.experiment.schedule, calls=self.calls),
            "curve": [
                asdict(candidate)
                | {"values": values, "over_default": asdict(result.against_default(candidate))}
                for candidate, values in sorted(result.curve.items())
            ],
            "default": asdict(result.default),
            "best": asdict(result.best),
            "fresh": [asdict(drawn) | {"values": values} for drawn, values in result.fresh.items()],
            "gain": asdict(result.difference),
            "choice": asdict(result.choice),
        }


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
        f"the same by hand: {to_type('sample', name)} {flags}",
    ]
