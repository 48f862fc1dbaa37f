"""TemplateMesh: a constant mesh, displaced and moved by an affine camera."""

import base64

import keras
import numpy as np
from keras import ops

from tf_facegcn.layers.mesh_operator import MeshOperator

# What a camera entry of 1 moves a vertex at the border of the crop, in crop
# units: the size of a usual change between photos.
_CAMERA_GAIN = 20.0


@keras.saving.register_keras_serializable(package="tf_facegcn")
class TemplateMesh(keras.layers.Layer):
    """Adds displacements to a template, which an affine camera may move.

    Pose is one linear map of all vertices, which graph convolutions on local
    neighbourhoods have to learn vertex by vertex; 12 numbers an image give it
    exactly. The camera is not in the paper. Inputs of zero give the template.

    Args:
        template: `(V, 3)` floats, in units of the output.
        center: `(3,)` floats, the fixed point of the camera's linear part.
        radius: Float, distance from `center` at which a linear entry of the
            camera moves a vertex as far as a translational one.
        upsampling: `MeshOperator`, `(V, V_coarse)`, that brings displacements
            of a coarser mesh to the template's vertices; or `None`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, V, 3)` displacements, with `upsampling` `(batch,
            V_coarse, 3)`; or a list of them and the cameras: `(batch, 12)`,
            row by row the change of a 3 x 4 camera.

    Output shape:
        `(batch, V, 3)`.
    """

    def __init__(
        self,
        template,
        center=(0.0, 0.0, 0.0),
        radius=1.0,
        upsampling=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(template, str):
            template = np.frombuffer(base64.b64decode(template), "<f4")
            template = template.reshape(-1, 3)
        self.template = np.array(template, dtype="float32")
        if self.template.ndim != 2 or self.template.shape[1] != 3:
            raise ValueError(
                "template must have shape (V, 3). Received: template of shape "
                f"{self.template.shape}"
            )
        if upsampling is not None and upsampling.shape[0] != len(self.template):
            raise ValueError(
                "upsampling must lead to the template's vertices, "
                f"{len(self.template)}. Received: upsampling.shape="
                f"{upsampling.shape}"
            )
        self.upsampling = upsampling
        self.supports_jit = upsampling is None or upsampling.supports_jit
        self.center = [float(value) for value in center]
        self.radius = float(radius)
        directions = (self.template - np.float32(self.center)) / self.radius
        ones = np.ones((len(directions), 1), dtype="float32")
        # (V, 4): each vertex in homogeneous coordinates.
        self._homogeneous = np.concatenate([directions, ones], axis=1)

    def build(self, input_shape):
        with_cameras = isinstance(input_shape[0], list | tuple)
        shape = input_shape[0] if with_cameras else input_shape
        count = len(self.template)
        if self.upsampling is not None:
            count = self.upsampling.shape[1]
        if tuple(shape[1:]) != (count, 3) or (
            with_cameras and input_shape[1][-1] != 12
        ):
            raise ValueError(
                f"inputs must be displacements (batch, {count}, 3) and, at "
                "will, cameras (batch, 12). Received: "
                f"input_shape={input_shape}"
            )

    def call(self, inputs):
        if not isinstance(inputs, list | tuple):
            displacements = inputs
            if self.upsampling is not None:
                displacements = self.upsampling(displacements)
            return displacements + ops.cast(self.template, displacements.dtype)
        displacements, cameras = inputs
        cameras = ops.reshape(_CAMERA_GAIN * cameras, (-1, 3, 4))
        homogeneous = ops.cast(self._homogeneous, cameras.dtype)
        template = ops.cast(self.template, cameras.dtype)
        if self.upsampling is None:
            moved = ops.matmul(homogeneous, ops.transpose(cameras, (0, 2, 1)))
            return displacements + moved + template
        return self._upsample_and_move(
            displacements, cameras, homogeneous, template
        )

    def compute_output_shape(self, input_shape):
        if isinstance(input_shape[0], list | tuple):
            input_shape = input_shape[0]
        return (input_shape[0], len(self.template), 3)

    def _upsample_and_move(self, displacements, cameras, homogeneous, template):
        """As one expression, so that a lowering may make one kernel of it."""

        @ops.custom_gradient
        def evaluate(displacements, cameras):
            def gradient(*args, upstream=None):
                (upstream,) = args or (upstream,)
                return (
                    self.upsampling.transpose(upstream),
                    ops.matmul(ops.transpose(upstream, (0, 2, 1)), homogeneous),
                )

            return (
                self.upsampling.evaluate(
                    _displaced, displacements, cameras, homogeneous, template
                ),
                gradient,
            )

        return evaluate(displacements, cameras)

    def get_config(self):
        config = super().get_config()
        template = self.template.astype("<f4").tobytes()
        config.update(
            template=base64.b64encode(template).decode("ascii"),
            center=self.center,
            radius=self.radius,
            upsampling=keras.saving.serialize_keras_object(self.upsampling),
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if not isinstance(config.get("upsampling"), MeshOperator | None):
            config["upsampling"] = keras.saving.deserialize_keras_object(
                config["upsampling"]
            )
        return cls(**config)


def _displaced(product, displacements, cameras, homogeneous, template):
    """The vertices, in sums that one kernel can make."""
    vertices = product(displacements) + template
    for column in range(4):
        # (batch, 1, 3) times (V, 1).
        entries = cameras[:, None, :, column]
        vertices = vertices + entries * homogeneous[:, column, None]
    return vertices
