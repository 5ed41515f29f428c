"""Data sets by name: `load(name, split)` gives an `ImageSet` (uint8) or a `PointSet` (float32).

| name | what | from |
| --- | --- | --- |
| `digits` | 8x8 grey handwritten digits, 1,437 + 360 | inside the package |
| `fashion-mnist`, `mnist` | 28x28 grey, 60,000 + 10,000 | IDX files in `root`, or prepared |
| `cifar-10` | 32x32 colour, 50,000 + 10,000 | prepared |
| `cifar-10-jpeg` | the same photographs as JPEG files, other pixels | prepared |
| `lsun-church` | 64x64 colour, 126,227 + 300 | prepared |
| `celeba` | 64x64 colour, 162,770 + 19,962 | prepared |
| `stacked-mnist`, `stacked-fashion-mnist` | 28x28, three grey as RGB, 60,000 + 10,000 | theirs |
| `stacked-digits` | 8x8, three digits as RGB, 20,000 + 5,000 | inside the package |
| `folder:PATH` | any images | the files under PATH |
| any other name | what `cascore data prepare NAME` made of a folder of images | prepared |
| `25-gaussians`, `swiss-roll` | points in the plane, 10,000 + 2,000 | drawn |

"Prepared" sets are folders of `root` that `prepare` wrote; every set but the points may be one.
"""

from cascore.stubs import handed_out

__all__, __getattr__ = handed_out(__name__, __file__)


def __dir__() -> list[str]:
    return __all__
