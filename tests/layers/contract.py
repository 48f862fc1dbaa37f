"""What every layer must keep, checked in one call."""

import json

import keras
import numpy as np

_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
_TOLERANCES = {"float32": 1e-6, "mixed_float16": 2e-2, "mixed_bfloat16": 1e-1}


def check_layer(make_layer, input_shapes, output_shapes, folder):
    """Checks shapes, config round trip, dtype policies, saving and reloading.

    Args:
        make_layer: Function of keyword arguments of `keras.layers.Layer`.
        input_shapes: List of shapes with the batch; one for each input.
        output_shapes: List of shapes likewise.
        folder: Folder for a saved model.
    """
    generator = np.random.default_rng(0)
    inputs = [
        generator.normal(size=shape).astype("float32") for shape in input_shapes
    ]
    reference = None
    for policy in _POLICIES:
        layer = make_layer(dtype=policy)
        outputs = _call(layer, inputs)
        assert [tuple(x.shape) for x in outputs] == output_shapes
        for x in outputs:
            assert keras.backend.standardize_dtype(x.dtype) == (
                layer.compute_dtype
            )
        if reference is None:
            reference = layer, outputs
        else:
            layer.set_weights(reference[0].get_weights())
            for ours, theirs in zip(
                _call(layer, inputs), reference[1], strict=True
            ):
                tolerance = _TOLERANCES[policy] * float(
                    1 + np.abs(theirs).max()
                )
                np.testing.assert_allclose(
                    np.array(keras.ops.cast(ours, "float32")),
                    np.array(theirs),
                    atol=tolerance,
                )
        _check_config(layer)
        _check_computed_shapes(layer, input_shapes, output_shapes)
    _check_saving(*reference, inputs, folder)


def _call(layer, inputs):
    outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    return outputs if isinstance(outputs, list) else [outputs]


def _check_config(layer):
    config = layer.get_config()
    assert json.loads(json.dumps(config)) is not None
    revived = layer.__class__.from_config(config)
    assert json.dumps(revived.get_config()) == json.dumps(config)
    # The configuration is the caller's: making a layer must not change it.
    assert json.dumps(layer.get_config()) == json.dumps(config)


def _check_computed_shapes(layer, input_shapes, output_shapes):
    symbolic = [(None, *shape[1:]) for shape in input_shapes]
    shapes = layer.compute_output_shape(
        symbolic if len(symbolic) > 1 else symbolic[0]
    )
    shapes = shapes if isinstance(shapes, list) else [shapes]
    assert [tuple(s) for s in shapes] == [
        (None, *shape[1:]) for shape in output_shapes
    ]


def _check_saving(layer, outputs, inputs, folder):
    symbolic = [keras.Input(x.shape[1:]) for x in inputs]
    model = keras.Model(symbolic, _call(layer, symbolic))
    path = folder / "layer.keras"
    model.save(path)
    # By name alone: every class must be registered.
    revived = keras.saving.load_model(path)
    revived_outputs = revived(inputs)
    for ours, theirs in zip(
        keras.tree.flatten(revived_outputs), outputs, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
