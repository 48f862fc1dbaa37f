"""FacePrediction: the mesh of one face in a photo."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.head_pose import HeadPose
from tf_facegcn.imaging.bounding_box import BoundingBox

NUM_LANDMARKS = 68


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """The mesh of one face, in the pixels of its photo.

    Pixels: x right, y down, the centre of the top-left pixel at (0, 0); z
    towards the viewer, in the same unit, mean over the vertices 0.

    Args:
        vertices: `(V, 3)` float32, photo pixels.
        faces: `(F, 3)` int32, vertex indices. Seen from outside the head the
            corners run counter-clockwise.
        landmark_indices: `(68,)` int32, the vertices that are the landmarks
            of the iBUG order.
        pose: How the head is turned, see `HeadPose`.
        box: The box in which the face was found or looked for, photo pixels.
        score: The detector's confidence, from 0 to 1; `None` if the box was
            given.

    Raises:
        ValueError: If a shape is wrong or a vertex is not finite.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    landmark_indices: NDArray[np.int32]
    pose: HeadPose
    box: BoundingBox
    score: float | None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            raise ValueError(
                "vertices must have shape (V, 3). Received: vertices.shape="
                f"{self.vertices.shape}"
            )
        if not np.isfinite(self.vertices).all():
            raise ValueError(
                "vertices must be finite. Received: NaN or infinity"
            )
        if self.landmark_indices.shape != (NUM_LANDMARKS,):
            raise ValueError(
                f"landmark_indices must have shape ({NUM_LANDMARKS},). "
                f"Received: shape={self.landmark_indices.shape}"
            )

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """`(68, 3)` float32: the landmarks in iBUG order, photo pixels."""
        return self.vertices[self.landmark_indices]
