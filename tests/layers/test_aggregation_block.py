import numpy as np
import pytest

from tests.layers.contract import check_layer
from tf_facegcn.layers.aggregation_block import AggregationBlock

SHAPES = [(1, 8, 8, 3), (1, 4, 4, 5), (1, 2, 2, 6)]


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_keeps_the_contract(rounds, tmp_path):
    def make_layer(**kwargs):
        return AggregationBlock((2, 3, 4), rounds, num_convolutions=1, **kwargs)

    check_layer(
        make_layer,
        SHAPES,
        [(1, 8, 8, 2), (1, 4, 4, 3), (1, 2, 2, 4)],
        tmp_path,
    )


def test_the_whole_triangle_has_a_node_less_each_round():
    block = AggregationBlock((2, 2, 2, 2), num_rounds=3)
    assert sorted(block.residuals) == ["0_1", "0_2", "0_3", "1_1", "1_2", "2_1"]


def _reach(**switches):
    """Which inputs each output depends on, by finite differences."""
    block = AggregationBlock((2, 2, 2), 2, num_convolutions=1, **switches)
    generator = np.random.default_rng(0)
    inputs = [generator.normal(size=s).astype("float32") for s in SHAPES]
    before = [np.array(x) for x in block(inputs)]
    reach = []
    for level in range(3):
        changed = list(inputs)
        changed[level] = inputs[level] + 1.0
        after = [np.array(x) for x in block(changed)]
        reach.append(
            [
                bool(np.abs(a - b).max() > 1e-6)
                for a, b in zip(after, before, strict=True)
            ]
        )
    return reach


def test_maps_reach_finer_and_coarser_levels():
    # The coarsest level has no node: its map goes to the decoder as it is.
    assert _reach() == [
        [True, True, False],
        [True, True, False],
        [True, True, True],
    ]


def test_without_the_up_path_nothing_reaches_finer_levels():
    reach = _reach(upsampling=False)
    assert not reach[1][0]
    assert not reach[2][0]
    assert reach[0][1]


def test_without_the_down_path_nothing_reaches_coarser_levels():
    reach = _reach(downsampling=False)
    assert not reach[0][1]
    assert reach[2][0]


def test_upsamples_bilinearly():
    block = AggregationBlock((1, 1), 1, num_convolutions=1)
    coarse = np.array([[0.0, 4.0], [0.0, 4.0]], "float32").reshape(1, 2, 2, 1)
    inputs = [np.zeros((1, 4, 4, 1), "float32"), coarse]
    block(inputs)
    assert not block.entries  # Both maps have the block's width already.
    # The node passes the up-sampled map through.
    block.fusions["0_1"].kernel.assign(np.reshape([0.0, 1.0], (1, 1, 2, 1)))
    block.residuals["0_1"].convolutions[0].kernel.assign(np.zeros((3, 3, 1, 1)))
    np.testing.assert_allclose(block(inputs)[0][0, 0, :, 0], [0, 1, 3, 4])


def test_only_inputs_of_another_width_pass_a_convolution():
    block = AggregationBlock((2, 3), 0)
    inputs = [
        np.ones((1, 4, 4, 2), "float32"),
        np.ones((1, 2, 2, 5), "float32"),
    ]
    outputs = block(inputs)
    assert list(block.entries) == ["1"]
    np.testing.assert_array_equal(outputs[0], inputs[0])
    assert outputs[1].shape == (1, 2, 2, 3)


def test_rejects_more_rounds_than_levels():
    with pytest.raises(ValueError, match="num_rounds=3"):
        AggregationBlock((2, 2, 2), num_rounds=3)


@pytest.mark.parametrize(
    ("source", "received"),
    [
        (AggregationBlock((2, 4), 1), r"widths=\[2, 4\]"),
        (AggregationBlock((1, 2, 3, 4), 2), r"widths=\[1, 2, 3, 4\]"),
        (AggregationBlock((3, 4), 0), "num_rounds=0"),
        (AggregationBlock((3, 4), 1, num_convolutions=2), "num_conv.*=2"),
        (AggregationBlock((3, 4), 1, upsampling=False), "upsampling=False"),
        (AggregationBlock((3, 4), 1, downsampling=False), "ling=False, norm"),
    ],
)
def test_takes_weights_of_its_coarsest_levels_only(source, received):
    whole = AggregationBlock((2, 3, 4), 2)
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        whole.assign_coarser(source)
