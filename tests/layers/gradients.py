"""Gradients in tests, on whichever backend Keras has."""

import keras
import numpy as np


def gradient(function, inputs):
    """The gradient of the sum of `function(inputs)`, as an array."""
    if keras.backend.backend() == "jax":
        import jax

        return np.array(jax.grad(lambda x: function(x).sum())(inputs))
    import tensorflow as tf

    inputs = tf.convert_to_tensor(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs)
    return tape.gradient(outputs, inputs).numpy()


def finite_difference(function, inputs, direction, step=1e-6):
    """The derivative of the sum of `function(inputs)` along a direction."""
    higher = np.array(function(inputs + step * direction)).sum()
    lower = np.array(function(inputs - step * direction)).sum()
    return (higher - lower) / (2 * step)
