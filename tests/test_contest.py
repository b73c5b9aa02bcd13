"""Records: which arm leads a category, and what a new one needs."""

from src.studies import contest
from tests.helpers import arm, run


def entry(finals):
    """An arm of two epochs whose runs end with so many images of 10,000."""
    runs = (run(9_900, correct, seed=seed) for seed, correct in enumerate(finals))
    return contest.Entry("study", "arm", "Ada", arm(*runs, network="Model_8_Widths(8, 8, 10, 10, 9)"))


def test_the_best_mean_leads_where_seeds_are_enough():
    few, many = entry([9_960] * 4 + [9_961]), entry([9_950] * 9 + [9_951])
    assert contest.best([few, many], 4000, 15) is many
    assert contest.best([few], 4000, 15) is few
    assert contest.best([few, many], 2000, 15) is None
    assert contest.best([few, many], 4000, 1) is None


def test_a_record_must_be_clearly_higher():
    old = entry([9_950, 9_952] * 5)
    (clearly, *_), (hardly, *_) = (
        [line for line in contest.verdicts(entry(finals), [old]) if line.startswith("4,000")]
        for finals in ([9_956, 9_958] * 5, [9_950, 9_952] * 4 + [9_952] * 2)
    )
    assert ": a record," in clearly
    assert ": no record," in hardly


def test_few_seeds_make_no_record_and_an_empty_category_takes_the_first():
    assert all("no record, 3 seeds" in line for line in contest.verdicts(entry([9_999] * 3), []))
    assert all("the first record" in line for line in contest.verdicts(entry([9_950, 9_951] * 5), []))
