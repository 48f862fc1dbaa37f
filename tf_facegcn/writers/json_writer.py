"""JSON: landmarks, pose and box of a face."""

import json
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.head_pose import POSE_DEFINITION
from tf_facegcn.prediction import FacePrediction

_COORDINATES = (
    "pixels of the photo: x right, y down, the centre of the top-left pixel "
    "at (0, 0); z towards the viewer, same unit, mean over the mesh 0"
)
_BOX = "pixel edges: pixel i covers [i, i + 1), right and bottom exclusive"
_PACKAGES = ("tf_facegcn", "tensorflow", "keras")

# A thousandth of a pixel, a hundredth of a degree.
_PIXEL_DECIMALS = 3
_DEGREE_DECIMALS = 2


def encode_json(prediction: FacePrediction, photo: NDArray[np.uint8]) -> bytes:
    """Encodes what is known of a face, without its mesh, as JSON.

    Args:
        prediction: The face.
        photo: `(height, width, 3)` uint8, its photo.

    Returns:
        The file's content: an object with `image_size`, `box`, `score`,
        `pose`, `landmarks` (68 lists of x, y and z), `landmark_indices`
        (vertices of the mesh), `definitions` of all these and `versions`.
    """
    height, width = photo.shape[:2]
    left, top, right, bottom = (
        round(edge, _PIXEL_DECIMALS) for edge in prediction.box.as_tuple()
    )
    pose = {
        name: round(angle, _DEGREE_DECIMALS) + 0.0  # Not -0.0.
        for name, angle in prediction.pose._asdict().items()
    }
    landmarks = [
        [round(value, _PIXEL_DECIMALS) for value in point]
        for point in prediction.landmarks.tolist()
    ]
    fields = {
        "image_size": {"width": width, "height": height},
        "box": {"left": left, "top": top, "right": right, "bottom": bottom},
        "score": prediction.score,
        "pose": pose,
        "landmarks": landmarks,
        "landmark_indices": prediction.landmark_indices.tolist(),
        "definitions": {
            "box": _BOX,
            "score": "the detector's, 0 to 1; null if the box was given",
            "pose": POSE_DEFINITION,
            "landmarks": f"iBUG order, 68 points; {_COORDINATES}",
            "landmark_indices": "vertices of the mesh, counted from 0",
        },
        "versions": _versions(),
    }
    lines = ",\n".join(
        f'  "{name}": {json.dumps(value)}' for name, value in fields.items()
    )
    return f"{{\n{lines}\n}}\n".encode()


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
