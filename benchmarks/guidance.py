"""What guidance wins and loses: pictures asked for by class, judged by one, chosen by another.

    python tools/train_classifier.py digits --seed 1 --out CHOOSER
    python -m benchmarks.guidance MODEL --chooser CHOOSER/digits.safetensors --count 2000

Where the model knows some of the classes that the classifiers know, `--known` names all of those,
in order: a picture is then of its class if it is that to a classifier among all it knows.

For each guidance: how many pictures a classifier finds to be of the class that they were asked for,
and recall and coverage within each class, in the features of that classifier. The best guidance is
that of most agreement which has at least half of the recall and of the coverage at guidance 1; it
is chosen with a classifier of its own on pictures of its own. Guidance 0, 1 and the best are then
judged by the classifier of the data set on other pictures, ± one standard error.
"""

import argparse
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cascore import load
from cascore.errors import InputError
from cascore.evaluation.evaluate import evaluate, reference_for
from cascore.evaluation.reference import Reference
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.measurement import Measurement
from cascore.metrics import Classifier, read_classifier
from cascore.model.loading import Model
from cascore.stats import Estimate

SHARE = 0.5
"""Of recall and coverage at guidance 1, that guidance may leave."""
_METRICS = ("agreement", "class-recall", "class-coverage")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one classifier says of the pictures at one guidance, by metric; and of each class."""

    guidance: float
    judge: str
    """Digest of the classifier."""
    whole: Mapping[str, Estimate]
    classes: Mapping[str, Mapping[str, Estimate]]

    @property
    def words(self) -> str:
        """A row: guidance, then each metric."""
        cells = (f"{name} {x.mean:.3f} ± {x.error:.3f}" for name, x in self.whole.items())
        return "   ".join([f"guidance {self.guidance:<5g}", *cells])


def judged(
    model: Model, reference: Reference, settings: EvaluationSettings, guidance: float
) -> Judged:
    """What the classifier of a reference says of denoised pictures, drawn with these settings."""
    asked = replace(settings, guidance=guidance, metrics=("classes",))
    found = evaluate(asked, device=model.device, model=model, reference=reference)
    whole: dict[str, Estimate] = {}
    classes: dict[str, dict[str, Estimate]] = {}
    for number in found.measurements:
        if number.images.form == "denoised" and number.metric in _METRICS:
            name = number.settings.get("class")
            row = whole if name is None else classes.setdefault(str(name), {})
            row[number.metric] = _estimate(number)
    assert reference.classifier is not None
    digest = reference.classifier.identity.digest
    order = {name: whole[name] for name in _METRICS if name in whole}
    return Judged(guidance=guidance, judge=digest, whole=order, classes=classes)


def best(rows: Sequence[Judged]) -> float:
    """The guidance of most agreement that keeps half of the recall and coverage at guidance 1."""
    plain = next(row.whole for row in rows if row.guidance == 1)
    kept = [
        row
        for row in rows
        if all(
            row.whole[name].mean >= SHARE * plain[name].mean
            for name in plain
            if name != "agreement"
        )
    ]
    return max(kept, key=lambda row: row.whole["agreement"].mean).guidance


def reordered(classifier: Classifier, known: Sequence[str], asked: Sequence[str]) -> Classifier:
    """The classifier with the classes that are asked for first, and the others it knows after."""
    missing = [name for name in asked if name not in known]
    if missing or len(known) != classifier.network.head.out_features:
        raise InputError(
            f"--known has {len(known)} names, for a classifier of"
            f" {classifier.network.head.out_features} classes, and must have those of the model:"
            f" {', '.join(asked)}"
        )
    order = [*asked, *(name for name in known if name not in asked)]
    rows = torch.tensor([known.index(name) for name in order])
    network = copy.deepcopy(classifier.network)
    network.head.weight.data = network.head.weight[rows]
    network.head.bias.data = network.head.bias[rows]
    return replace(classifier, network=network)


def compare(
    model: Model,
    chooser: Classifier,
    judge: Classifier | None = None,
    *,
    weights: Sequence[float],
    settings: EvaluationSettings,
) -> tuple[list[Judged], list[Judged]]:
    """The rows by which the best guidance is chosen, and those of 0, 1 and the best.

    Args:
        model: It knows classes.
        chooser: A classifier of its images, other than the one that judges.
        judge: By default the one that comes with cascore for the data set.
        weights: The guidances to choose among, beside 1.
        settings: How pictures are drawn; those that are judged have the seeds after the choosing.

    Raises:
        InputError: a data set without a classifier, or one that would choose for itself.
    """
    reference = reference_for(settings, model, device=model.device)
    judge = reference.classifier if judge is None else judge
    if judge is None or judge.identity.digest == chooser.identity.digest:
        why = "none comes with it; give --judge" if judge is None else "it would choose for itself"
        raise InputError(f"the classifier that judges {reference.data.name}: {why}")
    chooses = replace(reference, classifier=chooser, extractor=chooser)
    scan = [judged(model, chooses, settings, weight) for weight in sorted({1.0, *weights})]
    judges = replace(reference, classifier=judge, extractor=judge)
    later = settings.seed + settings.count
    fresh = replace(settings, seed=later)
    return scan, [judged(model, judges, fresh, weight) for weight in sorted({0.0, 1.0, best(scan)})]


def _estimate(number: Measurement) -> Estimate:
    assert number.value is not None
    assert number.error is not None
    return Estimate(number.value, number.error)


def main() -> None:
    """Print what chose, and what was judged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--chooser", type=Path, required=True, help="FOLDER/NAME.safetensors")
    parser.add_argument("--judge", type=Path, help="FOLDER/NAME.safetensors, of no shipped one")
    parser.add_argument("--known", nargs="+", help="all classes of the classifiers, in order")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=12)
    parser.add_argument("--root", help="folder of the data set's files")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 1, 1.5, 2, 3, 4])
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load(given.model)
    settings = EvaluationSettings(
        path=model.folder,
        root=given.root,
        count=given.count,
        seed=given.seed,
        sampler=Sampler(calls=given.calls),
    )
    chooser = read_classifier(given.chooser)
    judge = None if given.judge is None else read_classifier(given.judge)
    if given.known:
        chooser = reordered(chooser, given.known, model.classes)
        judge = None if judge is None else reordered(judge, given.known, model.classes)
    scan, rows = compare(model, chooser, judge, weights=given.weights, settings=settings)
    for title, part in (("chosen by", scan), ("judged by", rows)):
        print(f"{title} the classifier {part[0].judge[:12]}, {given.count} pictures a row")
        for row in part:
            print(f"  {row.words}")
    for row in rows:
        for name, numbers in row.classes.items():
            cells = (f"{metric} {x.mean:.3f}" for metric, x in numbers.items())
            print(f"guidance {row.guidance:<5g} {name:12}", *cells)


if __name__ == "__main__":
    main()
