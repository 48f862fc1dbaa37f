"""The frontal template: the face that a network predicts before training."""

import numpy as np

# Coordinates are in 1/256ths of the crop; pixel centres are whole numbers.
CROP_UNITS = 256
CROP_CENTER = (CROP_UNITS - 1) / 2
# Side of the crop over the longer side of the landmarks' box.
_CROP_MARGIN = np.sqrt(2)


def frontal_template(vertices, landmarks):
    """Places a template as a frontal face that fills the crop.

    Args:
        vertices: `(V, 3)` floats, model axes: y up, z towards the viewer.
        landmarks: `(68,)` integers.

    Returns:
        `(V, 3)` float32 in crop units: the box of the landmarks centred, its
        longer side times sqrt(2) the crop's side, y down, mean z 0.
    """
    placed = np.array(vertices, dtype="float64") * (1.0, -1.0, 1.0)
    lowest = placed[landmarks, :2].min(axis=0)
    highest = placed[landmarks, :2].max(axis=0)
    scale = CROP_UNITS / (_CROP_MARGIN * (highest - lowest).max())
    center = np.append((lowest + highest) / 2, placed[:, 2].mean())
    placed = (placed - center) * scale + (CROP_CENTER, CROP_CENTER, 0.0)
    return placed.astype("float32")
