"""The preset `paper` against the paper: Sec. III-E and Fig. 3."""

import numpy as np
import pytest

from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.mesh_upsampling import MeshUpsampling
from tf_facegcn.layers.residual_block import ResidualBlock
from tf_facegcn.models.face_gcn import FaceGCN

SIDES = [128, 64, 32, 16, 8, 4]
LEVELS = [16, 64, 256, 1024, 4096, 16384]


@pytest.fixture(scope="module")
def paper():
    return FaceGCN.from_preset("paper")


def _layers(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_maps_a_photo_to_the_whole_mesh(paper):
    assert paper.input_shape == (None, 256, 256, 3)
    assert paper.output_shape == (None, 53215, 3)


def test_six_residual_blocks_halve_down_to_4_x_4_x_128(paper):
    blocks = _layers(paper, ResidualBlock)
    assert [block.output.shape[1:3] for block in blocks] == [
        (side, side) for side in SIDES
    ]
    assert blocks[-1].output.shape == (None, 4, 4, 128)


def test_two_dense_layers_make_the_embedding(paper):
    hidden = paper.get_layer("embedding_hidden_0")
    embedding = paper.get_layer("embedding")
    assert hidden.input.shape == (None, 4 * 4 * 128)
    assert embedding.output.shape == (None, 256)
    assert embedding.input.shape == hidden.output.shape


def test_aggregation_nests_over_all_six_levels(paper):
    aggregation = paper.get_layer("aggregation")
    assert aggregation.upsampling
    assert aggregation.downsampling
    assert sorted(aggregation.residuals) == sorted(
        f"{level}_{round_index}"
        for round_index in range(1, 6)
        for level in range(6 - round_index)
    )
    for node in aggregation.residuals.values():
        assert node.shortcut is None  # The identity.
        assert [c.kernel_size for c in node.convolutions] == [(3, 3)] * 3
        assert {c.strides for c in node.convolutions} == {(1, 1)}
        assert len(node.normalizations) == 3
    assert {d.strides for d in aggregation.descents.values()} == {(2, 2)}
    # One for each node that has a finer neighbour.
    assert len(aggregation.descents) == 10


def test_six_dense_blocks_of_four_convolutions_decode(paper):
    blocks = _layers(paper, DenseGCNBlock)
    assert [block.output.shape[1] for block in blocks] == LEVELS
    for block in blocks:
        assert [c.order for c in block.convolutions] == [3] * 4
        assert len(block.normalizations) == 4
    assert blocks[-1].output.shape == (None, 16384, 128)


def test_each_block_is_fed_with_the_map_of_its_level(paper):
    for block, side in zip(
        _layers(paper, DenseGCNBlock), reversed(SIDES), strict=True
    ):
        vertices, pixels = block.input
        assert vertices.shape[1] == pixels.shape[1] == side * side


def test_five_upsamplings_by_four_and_one_to_the_whole_mesh(paper):
    upsamplings = _layers(paper, MeshUpsampling)
    assert [layer.operator.shape for layer in upsamplings] == [
        (4 * size, size) for size in LEVELS[:-1]
    ]
    first, second = _layers(paper, ChebConv)
    assert first.upsampling.shape == (53215, 16384)
    assert first.output.shape[1:] == (53215, first.filters)
    assert second.upsampling is None
    assert second.output.shape == (None, 53215, 3)
    assert first.order == second.order == 3


def test_has_none_of_the_parts_that_the_paper_has_not(paper):
    names = [layer.name for layer in paper.layers]
    assert not [n for n in names if n.startswith("vertex_embedding")]
    assert "camera" not in names
    assert "coarse_displacements" not in names


@pytest.mark.slow
def test_starts_as_the_frontal_template(paper):
    photos = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3))
    vertices = paper.predict(photos.astype("uint8"), verbose=0)
    np.testing.assert_allclose(vertices[0], paper.template, atol=1e-4)
    left, right = vertices[0, paper.landmarks[[36, 45]]]
    assert left[0] < right[0]  # The person's right eye is left in the photo.
    chin, brow = vertices[0, paper.landmarks[[8, 21]]]
    assert brow[1] < chin[1]
