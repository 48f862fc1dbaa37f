"""FaceGCN wherever Keras runs: other backends, exports, sub-models."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.like_lite import LIKE_LITE
from tests.models.shake import shake
from tf_facegcn.models.face_gcn import FaceGCN

LANDMARKS = np.arange(0, 640, 10)

# Loads a model on JAX, where there is no TensorFlow, and predicts.
ON_JAX = """
import sys

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTensorFlow())
import keras, numpy as np
from tf_facegcn.models.face_gcn import FaceGCN
assert keras.backend.backend() == "jax"
model = keras.saving.load_model(sys.argv[1])
assert type(model) is FaceGCN
arrays = np.load(sys.argv[2])
for predict in (model, model.fuse(), model.predict_on_batch):
    np.testing.assert_allclose(
        predict(arrays["photos"]), arrays["mesh"], rtol=1e-4, atol=1e-3
    )
"""

# As the paper's network, as lite, and an ablation with other switches.
KINDS = {
    "paper": {
        "template_transform": False,
        "vertex_embedding": False,
        "displacement_level": None,
        "embedding_hidden": (8,),
    },
    "lite": LIKE_LITE,
    "ablation": {
        "skip_connections": False,
        "order": 2,
        "laplacian": "normalized",
        "vertex_order": "index",
    },
}
every_kind = pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)


def _shaken(hierarchy, fields, **kwargs):
    """A network whose weights are not the initial ones, always the same."""
    keras.utils.set_random_seed(0)
    model = FaceGCN.from_preset(
        "tiny",
        hierarchy,
        LANDMARKS,
        **{"lowering": "gather", **fields, **kwargs},
    )
    shake(model)
    return model


def _photos(count=2):
    generator = np.random.default_rng(1)
    return generator.uniform(size=(count, 32, 32, 3)).astype("float32")


def _check(predicted, model, photos):
    expected = np.array(model(photos))
    assert np.abs(expected - model.template).max() > 1.0
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="JAX is not installed, see requirements-jax.txt",
)
@every_kind
def test_predicts_the_same_on_jax_without_tensorflow(
    fields, tiny_hierarchy, tmp_path
):
    model = _shaken(tiny_hierarchy, fields, lowering="auto")
    photos = _photos()
    model.save(tmp_path / "model.keras")
    mesh = np.array(model(photos))
    assert np.abs(mesh - model.template).max() > 1.0
    np.savez(tmp_path / "mesh.npz", photos=photos, mesh=mesh)
    process = subprocess.run(
        [
            *(sys.executable, "-c", ON_JAX),
            *(tmp_path / "model.keras", tmp_path / "mesh.npz"),
        ],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]


@every_kind
def test_saves_and_reloads_as_the_same_class(fields, tiny_hierarchy, tmp_path):
    model = _shaken(tiny_hierarchy, fields)
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    assert type(revived) is FaceGCN
    assert revived.get_config() == model.get_config()
    _check(revived(_photos()), model, _photos())


@pytest.mark.slow
@every_kind
def test_exports_with_a_symbolic_batch(fields, tiny_hierarchy, tmp_path):
    model = _shaken(tiny_hierarchy, fields)
    model.export(tmp_path / "exported", verbose=False)
    revived = tf.saved_model.load(tmp_path / "exported")
    for count in (1, 3):
        _check(revived.serve(_photos(count)), model, _photos(count))


@every_kind
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_runs_in_mixed_precision(fields, policy, tiny_hierarchy):
    model = _shaken(tiny_hierarchy, fields, dtype=policy)
    vertices = np.array(model(_photos()))
    assert vertices.dtype == np.float32
    expected = np.array(_shaken(tiny_hierarchy, fields)(_photos()))
    moved = np.abs(expected - model.template).max()
    assert np.abs(vertices - expected).max() < 0.05 * moved + 1.0


def test_summary_names_the_parts(tiny_hierarchy):
    lines = []
    _shaken(tiny_hierarchy, {}).summary(print_fn=lines.append)
    text = "\n".join(lines)
    for name in ("encoder_0_0", "aggregation", "dense_gcn_16", "vertices"):
        assert name in text


def test_the_encoder_is_a_model_with_the_same_weights(tiny_hierarchy):
    model = _shaken(tiny_hierarchy, {"encoder_depths": (1, 2, 1)})
    maps = model.encoder(_photos())
    assert [x.shape for x in maps] == [
        (2, 16, 16, 4),
        (2, 8, 8, 6),
        (2, 4, 4, 8),
    ]
    for stage, block in enumerate(("0_0", "1_1", "2_0")):
        last = model.get_layer(f"encoder_{block}").output
        np.testing.assert_array_equal(
            keras.Model(model.input, last)(_photos()), maps[stage]
        )
    coarsest = keras.Model(model.encoder.inputs, model.encoder.outputs[-1])
    np.testing.assert_array_equal(coarsest([_photos()]), maps[-1])
    own = {id(variable) for variable in model.weights}
    assert {id(variable) for variable in model.encoder.weights} < own
    pixels = (255 * _photos()).round().astype("uint8")
    np.testing.assert_allclose(
        model.encoder(pixels)[0], model.encoder(pixels / 255.0)[0], atol=1e-4
    )


def test_any_layer_ends_a_sub_model(tiny_hierarchy):
    model = _shaken(tiny_hierarchy, {})
    features = keras.Model(model.input, model.get_layer("dense_gcn_64").output)
    assert features(_photos()).shape == (2, 64, 4)
