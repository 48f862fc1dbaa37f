"""VertexEmbedding: learned features of each vertex, added to its inputs."""

import keras

# Small against features of unit variance, large enough to tell vertices apart
# from the first step on.
_INITIAL_DEVIATION = 0.3


@keras.saving.register_keras_serializable(package="tf_facegcn")
class VertexEmbedding(keras.layers.Layer):
    """Adds one learned feature vector for each vertex.

    A graph convolution has the same kernel at every vertex, so it cannot tell
    the tip of a nose from a chin; this lets it. Not in the paper.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, V, channels)`.

    Output shape:
        As the input.
    """

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=input_shape[1:],
            initializer=keras.initializers.RandomNormal(
                stddev=_INITIAL_DEVIATION
            ),
            name="embeddings",
        )

    def call(self, inputs):
        if inputs.shape[1] != self.embeddings.shape[0]:
            raise ValueError(
                f"inputs must have {self.embeddings.shape[0]} vertices. "
                f"Received: inputs.shape={tuple(inputs.shape)}"
            )
        return inputs + self.embeddings

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        # Keras' own needs a dtype that is a string, unless it is overridden.
        return super().get_config()
