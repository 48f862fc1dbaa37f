import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.geometry.meshes import make_icosphere
from tests.models.like_lite import LIKE_LITE
from tests.models.shake import shake
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.triangle_mesh import TriangleMesh
from tf_facegcn.losses.exponential_wing import ExponentialWing
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.face_gcn_presets import PRESETS
from tf_facegcn.models.frontal_template import CROP_UNITS

LANDMARKS = np.arange(0, 640, 10)

# Loads a model and predicts, in a process that has only the two files.
RELOAD = """
import sys, keras, numpy as np
from tf_facegcn.models.face_gcn import FaceGCN
model = keras.saving.load_model(sys.argv[1])
photos, expected = np.load(sys.argv[2])["photos"], np.load(sys.argv[2])["mesh"]
np.testing.assert_allclose(model(photos), expected, atol=1e-3)
assert isinstance(model, FaceGCN)
"""


@pytest.fixture(scope="module")
def tiny(tiny_hierarchy):
    return _tiny(tiny_hierarchy)


@pytest.fixture(scope="module")
def shaken(tiny_hierarchy):
    """A tiny network whose weights are not the initial ones."""
    model = _tiny(tiny_hierarchy)
    shake(model)
    return model


def _tiny(hierarchy, **kwargs):
    # Nothing to compile: quick in a few steps.
    arguments = {"lowering": "gather", **kwargs}
    return FaceGCN.from_preset("tiny", hierarchy, LANDMARKS, **arguments)


def _predict(model, photos):
    return np.array(model(photos, training=False))


def _photos(count=2, size=32):
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (count, size, size, 3), dtype="uint8")


def test_starts_at_the_template(tiny):
    vertices = _predict(tiny, _photos())
    assert vertices.shape == (2, 642, 3)
    assert vertices.dtype == np.float32
    np.testing.assert_array_equal(vertices, [tiny.template] * 2)


def test_uint8_and_float_photos_give_the_same_mesh(shaken):
    photos = _photos()
    np.testing.assert_allclose(
        _predict(shaken, photos),
        _predict(shaken, photos.astype("float32") / 255.0),
        atol=1e-3,
    )


@pytest.mark.slow
@pytest.mark.parametrize("lowering", ["auto", "compiled", "csr", "sparse"])
def test_every_lowering_gives_the_same_mesh(lowering, shaken):
    model = shaken.with_lowering(lowering)
    assert model.lowering == lowering
    expected = shaken.predict_on_batch(_photos())
    for jit_compile in (False, True):
        if jit_compile and lowering in ("csr", "sparse"):
            continue  # XLA has no sparse products.
        model.compile(jit_compile=jit_compile)
        np.testing.assert_allclose(
            model.predict_on_batch(_photos()), expected, atol=1e-3
        )


@pytest.mark.parametrize("fields", [{}, LIKE_LITE], ids=["tiny", "like lite"])
def test_a_fused_model_gives_the_same_mesh(fields, tiny_hierarchy, tmp_path):
    model = _tiny(tiny_hierarchy, **fields)
    shake(model)
    expected = _predict(model, _photos())
    fused = model.fuse()
    for predict in (fused, fused.predict_on_batch):  # Eager, and as a graph.
        np.testing.assert_allclose(
            predict(_photos()), expected, atol=1e-4 * CROP_UNITS
        )
    assert np.abs(expected - model.template).max() > 1.0
    assert not any("normalization" in x.path for x in fused.weights)
    assert len(fused.layers) <= len(model.layers)
    assert fused.fuse() is fused
    fused.save(tmp_path / "fused.keras")
    revived = keras.saving.load_model(tmp_path / "fused.keras")
    np.testing.assert_array_equal(
        _predict(revived, _photos()), _predict(fused, _photos())
    )
    # The fused model's weights are its own.
    model.set_weights([np.zeros_like(x) for x in model.get_weights()])
    np.testing.assert_array_equal(
        _predict(revived, _photos()), _predict(fused, _photos())
    )


def test_a_fused_model_predicts_some_vertices_alone(shaken):
    indices = np.array([641, 3, 77])
    np.testing.assert_allclose(
        _predict(shaken.fuse().at_vertices(indices), _photos()),
        _predict(shaken, _photos())[:, indices],
        atol=1e-4 * CROP_UNITS,
    )


def test_photos_matter_and_examples_do_not_mix(shaken):
    photos = _photos(3)
    together = _predict(shaken, photos)
    alone = _predict(shaken, photos[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_predicts_some_vertices_alone(shaken):
    indices = np.array([641, 3, 77])
    np.testing.assert_allclose(
        _predict(shaken.at_vertices(indices), _photos()),
        _predict(shaken, _photos())[:, indices],
        atol=1e-3,
    )


def test_some_vertices_of_an_upsampled_mesh(tiny_hierarchy):
    model = _tiny(tiny_hierarchy, **LIKE_LITE)
    shake(model)
    indices = [5, 600, 17, 5]
    np.testing.assert_allclose(
        _predict(model.at_vertices(indices), _photos()),
        _predict(model, _photos())[:, indices],
        atol=1e-3,
    )


def test_a_saved_model_needs_no_mesh_file(shaken, tmp_path):
    path = tmp_path / "model.keras"
    shaken.save(path)
    photos = _photos()
    np.savez(
        tmp_path / "mesh.npz",
        photos=photos,
        mesh=_predict(shaken, photos),
    )
    revived = keras.saving.load_model(path)
    assert type(revived) is FaceGCN
    np.testing.assert_allclose(
        _predict(revived, photos),
        _predict(shaken, photos),
        atol=1e-5,
    )
    for name in ("faces", "landmarks", "template"):
        np.testing.assert_array_equal(
            getattr(revived, name), getattr(shaken, name)
        )
    assert revived.fingerprint == shaken.fingerprint
    assert revived.preset == PRESETS["tiny"]


@pytest.mark.slow
def test_a_saved_model_loads_in_a_fresh_process(shaken, tmp_path):
    shaken.save(tmp_path / "model.keras")
    photos = _photos()
    mesh = _predict(shaken, photos)
    np.savez(tmp_path / "mesh.npz", photos=photos, mesh=mesh)
    files = [tmp_path / "model.keras", tmp_path / "mesh.npz"]
    subprocess.run([sys.executable, "-c", RELOAD, *files], check=True)


def test_config_restores_the_network(tiny):
    config = json.loads(json.dumps(tiny.get_config()))
    revived = FaceGCN.from_config(config)
    assert revived.get_config() == tiny.get_config()
    assert revived.count_params() == tiny.count_params()


def test_weights_of_another_topology_are_refused(tiny, tmp_path):
    sphere = make_icosphere(3)
    # The same surface with one edge turned; all sizes agree.
    faces = sphere.faces.copy()
    (a, b, c), edge = faces[0], set(faces[0][:2].tolist())
    other = next(
        index
        for index, face in enumerate(faces.tolist())
        if index and edge <= set(face)
    )
    (d,) = set(faces[other].tolist()) - edge
    faces[0], faces[other] = (a, d, c), (d, b, c)
    hierarchy = MeshHierarchy.build(
        TriangleMesh(sphere.vertices, faces), level_sizes=(256, 64, 16)
    )
    tiny.save_weights(tmp_path / "tiny.weights.h5")
    model = _tiny(hierarchy)
    with pytest.raises(ValueError, match="another mesh topology"):
        model.load_weights(tmp_path / "tiny.weights.h5")


def test_weights_of_the_same_topology_are_accepted(shaken, tiny, tmp_path):
    shaken.save_weights(tmp_path / "tiny.weights.h5")
    model = FaceGCN.from_config(tiny.get_config())
    model.load_weights(tmp_path / "tiny.weights.h5")
    np.testing.assert_array_equal(
        _predict(model, _photos()), _predict(shaken, _photos())
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_outputs_are_float32_in_mixed_precision(
    policy, shaken, tiny_hierarchy, tmp_path
):
    model = _tiny(tiny_hierarchy, dtype=policy)
    model.set_weights(shaken.get_weights())
    vertices = _predict(model, _photos())
    assert vertices.dtype == np.float32
    expected = _predict(shaken, _photos())
    spread = np.abs(expected - shaken.template).max()
    assert np.abs(vertices - expected).max() < 0.05 * spread + 1.0
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    assert revived.get_layer("encoder_0_0").compute_dtype == policy[6:]


def test_without_our_additions_it_is_the_papers_network(tiny_hierarchy):
    model = _tiny(
        tiny_hierarchy,
        template_transform=False,
        vertex_embedding=False,
        displacement_level=None,
    )
    np.testing.assert_array_equal(
        _predict(model, _photos()), [model.template] * 2
    )
    names = [layer.name for layer in model.layers]
    assert not [n for n in names if "embedding_" in n or n == "camera"]
    shake(model)
    indices = [641, 3, 77]
    np.testing.assert_allclose(
        _predict(model.at_vertices(indices), _photos()),
        _predict(model, _photos())[:, indices],
        atol=1e-3,
    )


@pytest.mark.slow
def test_overfits_a_few_faces(tiny_hierarchy):
    keras.utils.set_random_seed(0)
    model = _tiny(tiny_hierarchy)
    generator = np.random.default_rng(0)
    shifts = generator.normal(0.0, 8.0, (4, 1, 3))
    scales = generator.normal(1.0, 0.05, (4, 1, 3))
    vertices = (model.template * scales + shifts).astype("float32")
    photos = _photos(4)
    model.compile(keras.optimizers.Adam(1e-2), ExponentialWing())
    before = model.evaluate(photos, vertices, verbose=0)
    model.fit(photos, vertices, epochs=50, batch_size=4, verbose=0)
    predicted = np.array(model(photos, training=True))
    assert before > 10.0
    assert np.abs(predicted - vertices).mean() < 1.0


@pytest.mark.slow
def test_lite_fits_its_budget():
    model = FaceGCN.from_preset("lite")
    # At most 12 MB of weights in float16.
    assert model.count_params() * 2 <= 12e6
    assert model.output_shape == (None, 53215, 3)
    photos = _photos(1, 128)
    np.testing.assert_allclose(
        _predict(model, photos)[0], model.template, atol=1e-4
    )


@pytest.mark.slow
def test_a_saved_lite_is_small(tmp_path):
    FaceGCN.from_preset("lite").save(tmp_path / "lite.keras")
    assert (tmp_path / "lite.keras").stat().st_size <= 20e6


def test_rejects_an_unknown_preset():
    with pytest.raises(ValueError, match="preset='heavy'"):
        FaceGCN.from_preset("heavy")


def test_rejects_a_misspelt_field(tiny_hierarchy):
    with pytest.raises(ValueError, match="did you mean embedding_size"):
        FaceGCN.from_preset("tiny", tiny_hierarchy, LANDMARKS, embeding_size=3)


def test_rejects_a_hierarchy_without_landmarks(tiny_hierarchy):
    with pytest.raises(ValueError, match="landmarks=None"):
        FaceGCN.from_preset("tiny", tiny_hierarchy)


def test_rejects_landmarks_off_the_mesh(tiny_hierarchy):
    with pytest.raises(ValueError, match="642 vertices"):
        FaceGCN.from_preset("tiny", tiny_hierarchy, [0, 642])


def test_rejects_levels_that_do_not_match_the_maps(tiny_hierarchy):
    with pytest.raises(ValueError, match=r"hierarchy\.sizes=\(642"):
        FaceGCN.from_preset("tiny", tiny_hierarchy, LANDMARKS, input_size=64)
