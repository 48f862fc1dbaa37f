"""PhotoModel: a functional model of photos in whatever dtype they come."""

import keras


@keras.saving.register_keras_serializable(package="tf_facegcn")
class PhotoModel(keras.Model):
    """A functional model whose photos are uint8, or float in [0, 1].

    Its graph sees floats in [0, 1].
    """

    def call(self, inputs, training=None, mask=None):
        if "int" in keras.backend.standardize_dtype(inputs.dtype):
            inputs = keras.ops.cast(inputs, "float32") / 255.0
        return super().call(inputs, training=training, mask=mask)
