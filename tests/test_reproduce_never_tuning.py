"""What never tuning costs: the search runs, and the page says what the records say."""

import pytest

from cascore.reproduce.never_tuning.page import page
from cascore.reproduce.never_tuning.values import claims
from cascore.reproduce.never_tuning.work import SCALES

TINY = SCALES["tiny"][0]
DEFAULT, OTHER = {"order": 2, "kappa": 2.5}, {"order": 1, "kappa": 1.5}


def records_of(best, default, other):
    """Each search with these distances on the fresh blocks."""
    result = {
        "curve": [{**DEFAULT, "values": default}, {**OTHER, "values": other}],
        "default": DEFAULT,
        "best": best,
        "fresh": {"default": default, "best": default if best == DEFAULT else other},
    }
    machine = {"cores": 2, "threads": 1, "accelerator": None}
    software = {"machine": "x", "torch": "2", "python": "3", "cascore": "0"}
    return {
        TINY.unit(calls): {
            "result": result, "seconds": 1.0, "machine": machine, "software": software,
        }
        for calls in TINY.calls
    }  # fmt: skip


@pytest.mark.parametrize(
    ("best", "other", "verdict", "said", "cell"),
    [
        # Blocks differ by 1, the pairs by 0.5 give or take 0.01 and by 0.5 give or take 1.
        (
            OTHER,
            [0.5, 1.51],
            ["held (2 of 2)"],
            "2 of 2 searches found another setting than the default. On fresh seeds it is better"
            " in 2, by 33% of the distance at most, ties in 0 and is worse in 0.",
            "0.495 ± 0.005 | tuning pays",
        ),
        (
            OTHER,
            [1.5, 0.5],
            ["tie (2 of 2)"],
            "better in 0, ties in 2 and is worse in 0.",
            "0.500 ± 1.000 | a tie",
        ),
        (
            OTHER,
            [1.5, 2.51],
            ["did not hold (2 of 2)"],
            "better in 0, ties in 0 and is worse in 2.",
            "-0.505 ± 0.005 | the default is better",
        ),
        (DEFAULT, [9.0, 9.0], [], "0 of 2 searches found another setting", "the same"),
    ],
)
def test_what_tuning_gains_is_read_from_pairs_of_fresh_blocks(best, other, verdict, said, cell):
    records = records_of(best, [1.0, 2.0], other)
    assert [claim.verdict for claim in claims("tiny", records)] == verdict
    text = page("tiny", records).text
    assert said in text.replace("\n", " ")
    assert text.count(f"{cell} |") == 2
