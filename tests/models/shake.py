"""Weights as after training, which the initial ones are not."""

import numpy as np


def shake(model):
    """Adds noise to the weights and statistics of a model."""
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = generator.normal(0.0, 0.1, variable.shape)
        variable.assign_add(noise.astype("float32"))
    for variable in model.non_trainable_variables:
        # The statistics of batch normalisation; variances stay positive.
        if "moving" in variable.path:
            noise = generator.uniform(0.0, 0.5, variable.shape)
            variable.assign_add(noise.astype("float32"))
