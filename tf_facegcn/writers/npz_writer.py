"""NumPy archive: all arrays of a face."""

import io

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.prediction import FacePrediction


def encode_npz(prediction: FacePrediction, photo: NDArray[np.uint8]) -> bytes:
    """Encodes a face as a NumPy archive, not compressed, without pickles.

    Args:
        prediction: The face.
        photo: `(height, width, 3)` uint8, its photo.

    Returns:
        The file's content: `vertices (V, 3)` float32 and `landmarks (68, 3)`
        float32 in the photo's pixels (y down, as in `FacePrediction`),
        `faces (F, 3)` int32, `landmark_indices (68,)` int32, `pose (3,)`:
        yaw, pitch and roll in degrees, `box (4,)`: left, top, right and
        bottom, `score ()`: NaN if the box was given, `image_size (2,)`: width
        and height.
    """
    height, width = photo.shape[:2]
    score = np.nan if prediction.score is None else prediction.score
    buffer = io.BytesIO()
    np.savez(
        buffer,
        vertices=prediction.vertices,
        landmarks=prediction.landmarks,
        faces=prediction.faces,
        landmark_indices=prediction.landmark_indices,
        pose=np.array(prediction.pose),
        box=np.array(prediction.box.as_tuple()),
        score=np.array(score),
        image_size=np.array([width, height]),
    )
    return buffer.getvalue()
