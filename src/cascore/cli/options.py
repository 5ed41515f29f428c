"""The options that several commands share, each with its words."""

from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from cascore.experiment.presets import PUBLISHED
from cascore.experiment.settings import Sampler
from cascore.measurement import METRIC_NAMES, METRICS, Precision
from cascore.preprocessing import FolderOptions

if TYPE_CHECKING:
    Metric = str
    Number = str
    Network = str
else:
    Metric, Number, Network = (Literal[tuple(x)] for x in (METRIC_NAMES, METRICS, PUBLISHED))

ModelName = Positional[
    Annotated[
        str,
        arg(
            metavar="MODEL",
            help="Folder of a run of `cascore train`, a model folder of `cascore convert`,"
            " hf://user/name on the hub, or the name of a model that comes with cascore: digits,"
            " ...",
        ),
    ]
]
Task = Literal["inpaint", "colorize", "super-resolve", "deblur", "compressed"]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], arg(help="Where to compute.")]
Checkpoint = Annotated[
    str,
    arg(
        help="Of a run: newest, best (by the evaluations during training), a step, or auto: of a"
        " training by the clock its best, else the newest."
    ),
]
BatchSize = Annotated[int, arg(help="Pictures at a time.")]
Precisions = Annotated[
    Precision,
    arg(
        help="In which the model's network multiplies: tf32 is for GPUs, bfloat16 for devices that"
        " compute in it, there about twice as fast; the pictures change a little."
    ),
]
Compiled = Annotated[
    bool,
    arg(
        help="Compile the model's network (torch.compile, with CUDA graphs on a GPU), which takes a"
        " minute or more."
    ),
]
Root = Annotated[
    str | None,
    arg(
        help="Folder of the real images' files, where they need one, and of inception, dinov2 and"
        " clip."
    ),
]
Extractor = Annotated[
    str | None,
    arg(
        help="digits, mnist, fashion-mnist, cifar-10-jpeg, pixels, random-convolution, inception,"
        " dinov2 or clip; default: the data set's classifier, else random-convolution."
    ),
]
Like = Annotated[
    str | None,
    arg(
        help="The paper's settings by name, in place of those below (`cascore presets` lists them)."
    ),
]
Samplers = OmitArgPrefixes[Sampler]
Folders = OmitArgPrefixes[FolderOptions]
