"""The mesh of a prediction as trimesh holds it."""

from typing import TYPE_CHECKING

from tf_facegcn.prediction import FacePrediction
from tf_facegcn.writers.y_up import to_y_up

if TYPE_CHECKING:
    import trimesh


def to_trimesh(
    prediction: FacePrediction, photo_height: int
) -> "trimesh.Trimesh":
    """Makes a trimesh mesh with y up and the vertices in their order.

    Args:
        prediction: The face.
        photo_height: Rows of its photo.

    Returns:
        The mesh, in pixels, axes as in `to_y_up`.
    """
    # Takes 0.7 s, and most runs write neither PLY nor GLB.
    import trimesh

    return trimesh.Trimesh(
        vertices=to_y_up(prediction.vertices, photo_height),
        faces=prediction.faces,
        process=False,
    )
