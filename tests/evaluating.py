"""What several tests of evaluations ask."""

import torch

from cascore.evaluation.evaluate import evaluate
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.pixels import save_png

CPU = torch.device("cpu")
SAMPLER = Sampler(calls=4)


def ask(path, **settings):
    asked = EvaluationSettings(path=path, sampler=SAMPLER, **settings)
    return evaluate(asked, device=CPU, command="cascore evaluate it")


def write_images(images, folder):
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        save_png(image, folder / f"{index:04d}.png")
    return folder
