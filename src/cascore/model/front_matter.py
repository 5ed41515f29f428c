"""The YAML at the head of a model card, by which the hub of Hugging Face finds and shows it."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from cascore.hub import is_on_hub
from cascore.model.folder import ModelRecord

_LICENCES = {
    "digits": "cc-by-4.0",
    "stacked-digits": "cc-by-4.0",
    "fashion-mnist": "mit",
    "stacked-fashion-mnist": "mit",
    "ffhq": "cc-by-nc-sa-4.0",
}
"""Of the data, by the hub's names; the hub has "unknown" for all others."""
_ON_HUB = {"fashion-mnist": "zalando-datasets/fashion_mnist", "cifar-10": "uoft-cs/cifar10"}


class Result(NamedTuple):
    """What a model scored: the metric's name, its name in words, and the value."""

    metric: str
    label: str
    value: float


def front_matter(record: ModelRecord, results: Sequence[Result]) -> str:
    """Library, licence, task, data set and scores of a model, between lines of three dashes."""
    data = record.experiment.data.name
    kind = "unconditional-image-generation" if len(record.shape) == 3 else "other"
    lines = [
        "library_name: cascore",
        f"license: {_LICENCES.get(data, 'unknown')}",
        f"pipeline_tag: {kind}",
        "tags: [cascore, score-matching, diffusion]",
    ]
    base = record.source.get("base")
    origin = base.get("name") if isinstance(base, Mapping) else None
    if is_on_hub(origin):
        repository = str(origin).removeprefix("hf://").partition("@")[0]
        lines += [f"base_model: {_text(repository)}", "base_model_relation: finetune"]
    if data in _ON_HUB:
        lines.append(f"datasets: [{_ON_HUB[data]}]")
    if results:
        name = _text(data)
        lines += [
            "model-index:",
            f"- name: {_text(record.experiment.name)}",
            "  results:",
            f"  - task: {{type: {kind}}}",
            f"    dataset: {{name: {name}, type: {name}}}",
            "    metrics:",
        ]
        lines += [
            f"    - {{type: {result.metric}, name: {_text(result.label)},"
            f" value: {Decimal(f'{result.value:.6g}'):f}}}"  # YAML has no 1e-05
            for result in results
        ]
    return "\n".join(["---", *lines, "---", "", ""])


def _text(words: str) -> str:
    """Text of JSON, which is text of YAML."""
    return json.dumps(words, ensure_ascii=False)
