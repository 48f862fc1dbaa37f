import dataclasses
import math

import keras
import numpy as np
import pytest

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.models.face_gcn import FaceGCN
from training.compilation import (
    make_loss,
    make_optimizer,
    supervised_vertices,
    vertex_weights,
)
from training.config import get_config


@pytest.fixture(scope="module")
def hierarchy(miniature_model):
    return MeshHierarchy.build(
        miniature_model.template, level_sizes=(256, 64, 16)
    )


def test_landmarks_and_face_weigh_as_asked():
    # Landmarks in a 10 mm cross, one more vertex near, two far away.
    vertices = np.array(
        [
            *([5, 0, 0], [-5, 0, 0], [0, 5, 0], [0, -5, 0]),
            *([0, 4, 0], [0, 0, 100], [0, 0, 90]),
        ],
        float,
    )
    landmarks = np.arange(4)
    weights = vertex_weights(
        vertices, landmarks, landmark_weight=2.0, face_weight=3.0
    )
    assert weights.mean() == pytest.approx(1.0)
    # Vertices: 5 * 3 + 2 * 1 = 17 parts; landmarks: 2 * 17 parts on top.
    expected = np.array([3 + 34 / 4] * 4 + [3, 1, 1]) * 7 / 51
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_supervised_vertices_begin_with_the_landmarks(
    hierarchy, miniature_model
):
    model = FaceGCN.from_preset(
        "tiny", hierarchy=hierarchy, landmarks=miniature_model.landmarks
    )
    vertices = supervised_vertices(model, 2)
    np.testing.assert_array_equal(vertices[:68], miniature_model.landmarks)
    assert len(np.unique(vertices)) == len(vertices)
    level = hierarchy.levels[1].kept[hierarchy.levels[2].kept]
    assert set(level) | set(miniature_model.landmarks) == set(vertices)
    assert len(supervised_vertices(model, 0)) == 642
    with pytest.raises(ValueError, match=r"below 4.*supervised_level=4"):
        supervised_vertices(model, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 4 units off in each coordinate.
        ("exponential_wing", 5 * (math.e - 1)),
        ("wing", 10 * math.log(3)),
        ("l1", 4.0),
        ("l2", 16.0),
        ("smooth_l1", 3.5),
    ],
)
def test_a_configuration_names_its_loss(name, expected):
    config = dataclasses.replace(get_config("smoke"), loss=name)
    if name == "wing":
        config = dataclasses.replace(
            config, loss_width=10.0, loss_curvature=2.0
        )
    vertices = np.zeros((1, 2, 3), "float32")
    loss = make_loss(config, np.array([2.0, 0.0]))
    assert loss.name == name
    assert float(loss(vertices, vertices + 4.0)) == pytest.approx(
        expected, rel=1e-5
    )


def test_rejects_an_unknown_loss():
    with pytest.raises(ValueError, match="loss='l3'"):
        dataclasses.replace(get_config("smoke"), loss="l3")


def rates(optimizer, iterations):
    return [float(optimizer._learning_rate(i)) for i in iterations]


def test_the_paper_decays_by_a_hundredth_every_epoch():
    optimizer = make_optimizer(get_config("paper"), steps_per_epoch=10)
    assert type(optimizer).__name__ == "SGD"
    assert optimizer.momentum == 0.9
    assert optimizer.global_clipnorm is None
    np.testing.assert_allclose(
        rates(optimizer, [0, 9, 10, 100]),
        [1e-3, 1e-3, 0.99e-3, 1e-3 * 0.99**10],
        rtol=1e-6,
    )


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_cosine_begins_with_a_warm_up(accumulation_steps):
    config = dataclasses.replace(
        get_config("lite"),
        warmup_steps=10,
        epochs=5,
        accumulation_steps=accumulation_steps,
    )
    optimizer = make_optimizer(config, steps_per_epoch=20)
    # Of 100 updates the first 10 warm up.
    steps = np.array([0, 5, 10, 55, 100]) * accumulation_steps
    found = rates(optimizer, steps)
    assert found[0] == pytest.approx(1e-4 / accumulation_steps, rel=1e-3)
    assert 5e-4 <= found[1] <= 6e-4
    assert found[2] == pytest.approx(1e-3, rel=1e-5)
    assert found[3] == pytest.approx(5.025e-4, rel=1e-3)
    assert found[4] == pytest.approx(5e-6, rel=1e-3)
    assert optimizer.gradient_accumulation_steps == (
        accumulation_steps if accumulation_steps > 1 else None
    )


@pytest.mark.parametrize("accumulation_steps", [1, 4])
def test_an_average_spans_as_many_updates(accumulation_steps):
    """However many parts a batch has, of which Keras averages each."""
    config = dataclasses.replace(
        get_config("lite"),
        average_momentum=0.9,
        learning_rate=1e-9,
        accumulation_steps=accumulation_steps,
    )
    optimizer = make_optimizer(config, steps_per_epoch=20)
    weight = keras.Variable(0.0)
    optimizer.build([weight])
    optimizer.apply([keras.ops.zeros(())])  # Averages begin with the second.
    for _ in range(accumulation_steps - 1):
        optimizer.apply([keras.ops.zeros(())])
    weight.assign(1.0)
    for _ in range(5 * accumulation_steps):
        optimizer.apply([keras.ops.zeros(())])
    (average,) = optimizer._model_variables_moving_average
    assert float(average) == pytest.approx(1 - 0.9**5, abs=1e-3)
