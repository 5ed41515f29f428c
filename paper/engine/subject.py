"""What most studies have: networks with how their samples are measured, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cascore.experiment.settings import Experiment
from paper.engine.chain import Chain
from paper.engine.compare import Number
from paper.engine.lab import Lab
from paper.engine.models import Precision, training_of
from paper.engine.rows import Rows
from paper.engine.store import Line

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
