"""The files of data sets that a program may fetch, with their sizes and SHA-256.

The sums are those of the checksum lists of tensorflow/datasets (url_checksums/cifar10.txt,
mnist.txt and fashion_mnist.txt), so they stand in a public place that is none of the servers'.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cascore.data.idx import file_names
from cascore.data.images import SPLITS
from cascore.fetching import Download


def _four(address: str, *facts: tuple[int, str]) -> tuple[Download, ...]:
    names = (name for split in SPLITS for name in file_names(split))
    return tuple(
        Download(f"{address}/{name}.gz", size, digest)
        for name, (size, digest) in zip(names, facts, strict=True)
    )


_MNIST = _four(
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
_FASHION_MNIST = _four(
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
DOWNLOADS: Mapping[str, tuple[Download, ...]] = MappingProxyType(
    {
        "cifar-10": (
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        "mnist": _MNIST,
        "fashion-mnist": _FASHION_MNIST,
        "stacked-mnist": _MNIST,
        "stacked-fashion-mnist": _FASHION_MNIST,
    }
)
"""The files of each data set that a program may fetch."""
