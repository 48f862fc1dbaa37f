"""HeadPose: how a head is turned, as three angles."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from tf_facegcn.geometry.camera import decompose_camera, fit_camera

POSE_DEFINITION = (
    "degrees, right-handed, R = Rz(roll) @ Ry(yaw) @ Rx(pitch) in axes x to "
    "the image's right, y up, z towards the viewer; yaw > 0 turns the nose to "
    "the image's right, pitch > 0 turns it down, roll > 0 turns the head "
    "counter-clockwise as seen"
)


class HeadPose(NamedTuple):
    """How a head is turned; all zero if it looks straight at the viewer.

    `R = Rz(roll) @ Ry(yaw) @ Rx(pitch)` in the axes of the model: x to the
    image's right, y up, z towards the viewer.

    Attributes:
        yaw: Degrees, from -90 to 90, positive with the nose to the image's
            right.
        pitch: Degrees, positive with the nose down.
        roll: Degrees, positive counter-clockwise as seen.
    """

    yaw: float
    pitch: float
    roll: float

    @classmethod
    def of_mesh(cls, template: ArrayLike, vertices: ArrayLike) -> HeadPose:
        """Finds the pose of a predicted mesh.

        Args:
            template: `(V, 3)` float, the mean head in model space, looking
                along z.
            vertices: `(V, 3)` float, the predicted head in pixels.

        Returns:
            The angles of the scaled orthographic camera that takes the
            template nearest to the vertices, in least squares.
        """
        camera = decompose_camera(fit_camera(template, vertices))
        return cls(float(camera.yaw), float(camera.pitch), float(camera.roll))
