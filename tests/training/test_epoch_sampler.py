import numpy as np
import pytest

from training.data.epoch_sampler import EpochSampler
from training.data.validation_steps import ValidationSteps

EQUAL = np.full(24, 1 / 24)


def drawn(sampler, epoch=0):
    first = epoch * sampler.steps_per_epoch
    steps = range(first, first + sampler.steps_per_epoch)
    return np.concatenate([sampler.step(number)[0] for number in steps])


def test_equal_examples_do_not_come_twice_in_an_epoch():
    sampler = EpochSampler(EQUAL, 4, 5, seed=3)
    for epoch in range(3):
        assert len(set(drawn(sampler, epoch))) == 20


def test_a_long_epoch_has_equal_examples_equally_often():
    sampler = EpochSampler(EQUAL, 8, 6, seed=0)
    assert sorted(drawn(sampler)) == sorted([*range(24), *range(24)])
    # The second time as another example.
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


def test_examples_come_as_often_as_their_share():
    shares = np.repeat([0.5 / 8, 0.5 / 32], [8, 32])
    sampler = EpochSampler(shares, 4, 6, seed=0)
    counts = np.array(
        [
            np.bincount(drawn(sampler, epoch), minlength=40)
            for epoch in range(400)
        ]
    )
    # 24 draws: 1.5 of each of the first, 0.375 of each of the others.
    assert set(counts[:, :8].ravel()) == {1, 2}
    assert set(counts[:, 8:].ravel()) == {0, 1}
    np.testing.assert_allclose(counts.mean(axis=0), 24 * shares, atol=0.12)


def test_every_part_of_an_epoch_is_a_fair_sample():
    # An epoch of nearly as many draws as examples, as that of `lite`.
    rare = np.arange(1000) < 200
    shares = np.where(rare, 0.5 / 200, 0.5 / 800)
    sampler = EpochSampler(shares, 10, 96, seed=1)
    parts = [rare[drawn(sampler, epoch)] for epoch in range(20)]
    quarters = np.array(parts).reshape(20, 4, -1).mean(axis=(0, 2))
    np.testing.assert_allclose(quarters, 0.5, atol=0.03)


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
