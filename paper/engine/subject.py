"""What most studies have some of: a network, and how its samples are measured."""

from dataclasses import dataclass
from typing import Any

from cascore.experiment.settings import Experiment
from paper.engine.chain import Chain
from paper.engine.compare import Number
from paper.engine.lab import Lab
from paper.engine.models import Precision, training_of
from paper.engine.rows import Rows

__all__ = ["OBJECTIVES", "Subject"]

OBJECTIVES = ("plain", "adversarial")


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

    def distances(
        self, lab: Lab, chain: Chain, objective: str = "plain", training: int = 0, **tags: Any
    ) -> Rows:
        """The rows of a chain, `objective` among their tags."""
        return lab.distances(
            self.experiment(objective, training),
            chain,
            seeds=range(self.seeds),
            count=self.count,
            extractors=self.extractors,
            objective=objective,
            **tags,
        )

    def floors(self, lab: Lab) -> dict[str, Number]:
        """What as many real images score, by extractor."""
        data = self.experiment().data.name
        return lab.floors(data, count=self.count, extractors=self.extractors)
