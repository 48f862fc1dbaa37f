import numpy as np
import pytest

from training.data.epoch_sampler import EpochSampler
from training.data.validation_steps import ValidationSteps

EQUAL = np.full(24, 1 / 24)


def drawn(sampler, epoch=0):
    first = epoch * sampler.steps_per_epoch
    steps = range(first, first + sampler.steps_per_epoch)
    return np.concatenate([sampler.step(number)[0] for number in steps])


def test_no_example_comes_twice_in_an_epoch():
    weights = np.arange(1.0, 25.0)
    sampler = EpochSampler(weights / weights.sum(), 4, 5, seed=3)
    for epoch in range(3):
        assert len(set(drawn(sampler, epoch))) == 20


def test_a_long_epoch_has_each_example_once_a_pass():
    sampler = EpochSampler(EQUAL, 8, 6, seed=0)
    indices = drawn(sampler)
    for turn in (indices[:24], indices[24:]):
        assert sorted(turn) == list(range(24))
    seeds = [seed for number in range(6) for seed in sampler.step(number)[1]]
    assert len(set(seeds)) == 48


def test_an_epoch_without_a_length_is_one_pass():
    sampler = EpochSampler(EQUAL, 7, None, seed=0)
    assert sampler.steps_per_epoch == 3
    assert len(set(drawn(sampler))) == 21


def test_epochs_and_seeds_differ_and_repeat():
    sampler = EpochSampler(EQUAL, 8, 2, seed=0)
    other = EpochSampler(EQUAL, 8, 2, seed=1)
    draws = [sampler.step(0)[0], sampler.step(2)[0], other.step(0)[0]]
    assert len({tuple(draw.tolist()) for draw in draws}) == 3
    again = EpochSampler(EQUAL, 8, 2, seed=0)
    np.testing.assert_array_equal(again.step(2)[0], draws[1])


def test_likely_examples_come_more_often():
    weights = np.array([4.0] * 8 + [1.0] * 32)
    sampler = EpochSampler(weights / weights.sum(), 4, 1, seed=0)
    likely = [np.sum(drawn(sampler, epoch) < 8) for epoch in range(400)]
    # Of the first four draws half are likely, a little less as these run out.
    assert 1.75 < np.mean(likely) < 2.0


@pytest.mark.parametrize("num_shards", [2, 4])
def test_machines_share_each_batch_and_no_example(num_shards):
    whole = EpochSampler(EQUAL, 8, 3, seed=2)
    parts = [
        EpochSampler(EQUAL, 8, 3, seed=2, num_shards=num_shards, shard=shard)
        for shard in range(num_shards)
    ]
    for number in range(6):
        indices, seeds = whole.step(number)
        shares = [part.step(number) for part in parts]
        assert {len(share[0]) for share in shares} == {8 // num_shards}
        together = [pair for share in shares for pair in zip(*share, strict=1)]
        assert sorted(together) == sorted(zip(indices, seeds, strict=True))


@pytest.mark.parametrize(
    ("batch_size", "num_shards", "message"),
    [(9, 2, "2 machines can share"), (25, 1, "24 examples, batch_size=25")],
)
def test_batch_that_does_not_fit_is_refused(batch_size, num_shards, message):
    with pytest.raises(ValueError, match=message):
        EpochSampler(EQUAL, batch_size, 1, 0, num_shards=num_shards)


def test_validation_steps_have_each_example_once():
    steps = ValidationSteps(11, 4)
    batches = [steps.step(number)[0].tolist() for number in range(len(steps))]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    # Two machines: equally many each, so the eleventh is left out.
    shared = [
        [
            ValidationSteps(11, 4, 2, 2, shard).step(number)[0].tolist()
            for shard in (0, 1)
        ]
        for number in range(3)
    ]
    assert shared == [[[0, 2], [1, 3]], [[4, 6], [5, 7]], [[8], [9]]]
