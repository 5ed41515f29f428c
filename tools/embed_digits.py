"""Write the 8x8 digits that scikit-learn carries into the package, as a small npz.

python tools/embed_digits.py

Grey values are stored as they are, 0 to 16. The same input gives the same bytes.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

OUT = Path(__file__).resolve().parents[1] / "src" / "cascore" / "data" / "digits.npz"


def main() -> None:
    """Check that nothing is lost, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    digits = load_digits()
    ink, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    if not np.array_equal(ink, digits.images) or not np.array_equal(labels, digits.target):
        raise SystemExit("the digits do not fit 8 bits; this is not the set that was expected")
    np.savez_compressed(out, ink=ink, labels=labels)
    print(f"{len(ink)} digits, {out.stat().st_size} bytes in {out}")


if __name__ == "__main__":
    main()
