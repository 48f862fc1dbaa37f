"""MeshUpsampling: barycentric interpolation onto the finer mesh level."""

import keras

from tf_facegcn.layers.mesh_operator import MeshOperator


@keras.saving.register_keras_serializable(package="tf_facegcn")
class MeshUpsampling(keras.layers.Layer):
    """Interpolates vertex features onto a finer mesh (paper, Sec. III-D).

    `V_u = Q_u V_d`: a kept vertex keeps its features, a vertex that
    decimation removed takes those of the coarse face that it lies on, by
    barycentric weights. There is nothing to learn.

    Args:
        operator: `MeshOperator` of `Q_u`, `(V_fine, V_coarse)`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, V_coarse, channels)`.

    Output shape:
        `(batch, V_fine, channels)`.
    """

    def __init__(self, operator, **kwargs):
        super().__init__(**kwargs)
        self.operator = operator
        self.supports_jit = operator.supports_jit

    def build(self, input_shape):
        if input_shape[1] != self.operator.shape[1]:
            raise ValueError(
                "inputs must have the coarse level's vertices, "
                f"{self.operator.shape[1]}. Received: "
                f"input_shape={input_shape}"
            )

    def call(self, inputs):
        return self.operator(inputs)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.operator.shape[0], *input_shape[2:])

    def get_config(self):
        config = super().get_config()
        config.update(
            operator=keras.saving.serialize_keras_object(self.operator)
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if not isinstance(config["operator"], MeshOperator):
            config["operator"] = keras.saving.deserialize_keras_object(
                config["operator"]
            )
        return cls(**config)
