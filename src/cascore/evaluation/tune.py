"""Order and kappa for a model and a number of network calls: what a search measures and draws."""

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from cascore.errors import InputError
from cascore.evaluation.compare import dot_chart
from cascore.evaluation.reference import Reference
from cascore.evaluation.search import Candidate, Objective, Pair, SearchResult
from cascore.experiment.chain import chain_sigmas, resolved, seeds_from
from cascore.experiment.settings import Sampler, Schedule
from cascore.measurement import Floor
from cascore.model.advice import Choice
from cascore.model.loading import Model
from cascore.model.wide import Part, kept_part, opened_parts
from cascore.pixels import to_uint8
from cascore.progress import Display
from cascore.stats import Estimate
from cascore.training import ALONE, Workers

_ALMOST_ALL = 0.99
"""Share of x that a step replaces by H at the largest kappa; beyond, kappas are much alike."""


def sampler_of(candidate: Candidate, *, calls: int) -> Sampler:
    """The sampler of a candidate in that many network calls."""
    # The parsers of JSON and of the command line hold orders to those that there are.
    return Sampler(order=1 if candidate.order == 1 else 2, kappa=candidate.kappa, calls=calls)


def choice_of(result: SearchResult, model: Model, *, extractor: str, calls: int) -> Choice:
    """What a search chose, as `sampler.json` holds it."""
    tuned, gain = result.choice != result.default, result.difference
    chain = model.chain(sampler_of(result.choice, calls=calls))
    return Choice(
        order=chain.order,
        kappa=result.choice.kappa,
        spacing=chain.spacing,
        weights=model.digest,
        extractor=extractor,
        gain=gain.mean if tuned else 0.0,
        gain_error=gain.error,
        tuned=tuned,
    )


def default_candidate(schedule: Schedule, *, calls: int, blind: bool = True) -> Candidate:
    """What `cascore sample` takes at that many calls where nothing was tuned."""
    chain = resolved(Sampler(calls=calls), schedule, blind=blind)
    assert chain.kappa is not None  # as in all consistent sampling
    return Candidate(chain.order, chain.kappa)


def largest_kappa(schedule: Schedule, *, calls: int) -> float:
    """The kappa whose step replaces 99 % of x at geometric levels: gamma^kappa = 0.01.

    Where centred levels are densest it is 95 to 97 %. At least twice the default's, which few calls
    come near. Fewer than two calls have no noise between them and raise InputError.
    """
    if calls < 2:
        raise InputError(f"{calls} network call has no noise to tune: give --calls 2 or more")
    chain = resolved(Sampler(calls=calls, spacing="geometric"), schedule)
    sigmas, default = chain_sigmas(chain, schedule), default_candidate(schedule, calls=calls)
    ratio = math.log(float(sigmas[1] / sigmas[0]))
    return max(2 * default.kappa, math.log(1 - _ALMOST_ALL) / ratio)


def frechet_objective(
    model: Model, reference: Reference, *, calls: int, first_seed: int, batch_size: int
) -> Objective:
    """Fréchet distance of a block of `reference.count` denoised samples to the real images.

    The seeds of block 0 begin with `first_seed`; the blocks follow one another.
    """

    def measure(candidate: Candidate, block: int) -> float:
        seeds = seeds_from(first_seed + block * reference.count, reference.count)
        samples = model.draw(seeds, sampler_of(candidate, calls=calls), batch_size=batch_size)
        features = reference.see(to_uint8(samples.denoised))
        return reference.frechet(features, reference.split).mean

    return measure


def shared_objective(
    objective: Objective,
    parts: Path,
    facts: object,
    *,
    workers: Workers = ALONE,
    display: Display | None = None,
) -> tuple[Objective, Callable[[Sequence[Pair]], None]]:
    """An objective whose values are kept in files of `parts`, and what shares those to come.

    The second is for `search(ahead=...)`: process r of n measures the pairs r, r + n, ..., and then
    all of them read all, and so choose the same. The facts are what decides a value beside
    candidate and block.
    """
    folder = opened_parts(parts, "values", facts, workers=workers)

    def kept(candidate: Candidate, block: int) -> float:
        name = f"order {candidate.order} kappa {candidate.kappa!r} block {block}"
        path = folder / f"{name}.safetensors"

        def made() -> Part:
            return {"value": torch.tensor(objective(candidate, block), dtype=torch.float64)}

        return float(kept_part(path, made)["value"])

    def share(pairs: Sequence[Pair]) -> None:
        if workers.count == 1:  # which measures each when it is asked for, and tells at once
            return
        mine = pairs[workers.rank :: workers.count]
        nobody = nullcontext(lambda more: None)
        with display.counting("tuning", len(mine)) if display else nobody as advance:
            for candidate, block in mine:
                kept(candidate, block)
                advance(1)
        workers.barrier()

    return kept, share


def tuning_chart(result: SearchResult, path: Path, *, title: str, floor: Floor | None) -> None:
    """Draw every candidate's mean; bars are errors of its paired difference from the default."""
    dots = []
    for candidate in sorted(result.curve):
        notes = [" (untuned)"] * (candidate == result.default)
        notes += [" (chosen)"] * (candidate == result.choice)
        error = result.against_default(candidate).error
        number = Estimate(statistics.fmean(result.curve[candidate]), error)
        colour = "#d55e00" if notes else "#1f5fa8" if candidate.order == 2 else "#5b6475"
        dots.append((f"{candidate}{''.join(notes)}", number, colour))
    across = "Fréchet distance, denoised (bars: error of the difference from untuned)"
    dot_chart(dots, path, title=title, across=across, floor=floor)
