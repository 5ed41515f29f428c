"""A whole record, for tests that change a part of it."""

from cascore.measurement import (
    Computation,
    ExtractorIdentity,
    Floor,
    ImageFacts,
    Measurement,
    ModelFacts,
    ReferenceFacts,
    SamplerFacts,
    Selection,
)

TRAIN = ReferenceFacts(
    kind="data",
    name="digits",
    split="train",
    count=1437,
    available=1437,
    digest="ab" * 32,
    settings={"root": "elsewhere"},
    preparation=("scaled to 0 to 255",),
    provenance="known",
)
RECORD = Measurement(
    metric="frechet",
    value=2.5,
    error=0.1,
    settings={},
    floor=Floor(mean=0.2, spread=0.02, repeats=20, extrapolated=False),
    data="digits",
    images=ImageFacts(
        source="run",
        path="runs/a",
        form="denoised",
        count=1000,
        digest="cd" * 32,
        first_seed=0,
        preprocessing={},
    ),
    model=ModelFacts(
        name="digits",
        digest="ef" * 32,
        step=1500,
        checkpoint="newest",
        experiment={"name": "digits"},
        data={"name": "digits"},
    ),
    sampler=SamplerFacts(
        settings={
            "method": "cas", "order": 2, "steps": 12, "n_sigma": 1, "kappa": 2.5,
            "eta": None, "epsilon": None, "spacing": "geometric",
        },
        nfe=12,
    ),
    extractor=ExtractorIdentity("digits", "12" * 32),
    references=(TRAIN,),
    selection=Selection(metric="frechet", value=2.4, step=1500, candidates=3),
    computation=Computation(device="cpu", threads=1, batch_size=256),
    software={"cascore": "0.1.0"},
    command="cascore evaluate runs/a",
)  # fmt: skip
