"""MeshPictures: the callback that shows predicted meshes in TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.drawing import Drawing
from tf_facegcn.imaging.face_crop import CROP_UNITS
from tf_facegcn.models.face_gcn import FaceGCN

# Side of a photo in the picture, in pixels.
_SIDE = 192


class MeshPictures(keras.callbacks.Callback):
    """Draws the mesh over some photos after every epoch, for TensorBoard.

    The meshes are those of the weights as they are, not of moving averages.

    Args:
        folder: Folder of the logs.
        network: Predicts all vertices; shares its weights with the model that
            is trained. A copy of it draws the pictures, as no machine may
            predict alone with a model that several train.
        photos: `(n, size, size, 3)` uint8, those that are drawn on.
    """

    def __init__(
        self, folder: str | Path, network: FaceGCN, photos: NDArray[np.uint8]
    ) -> None:
        super().__init__()
        import tensorflow as tf

        self.network = network
        self._copy = network.__class__.from_config(network.get_config())
        self.photos = photos
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Writes a picture."""
        import tensorflow as tf

        if not math.isfinite((logs or {}).get("loss", 0.0)):
            return
        self._copy.set_weights(self.network.get_weights())
        # One by one, so that no batch size is traced anew.
        predicted = [
            np.asarray(self._copy.predict_on_batch(photo[None]))[0]
            for photo in self.photos
        ]
        picture = draw_meshes(
            self.photos, predicted, self.network.faces, self.network.landmarks
        )
        with self._writer.as_default():
            tf.summary.image("meshes", picture[None], step=epoch)
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Closes the log."""
        del logs
        self._writer.close()


def draw_meshes(
    photos: NDArray[np.uint8],
    vertices: list[NDArray[np.floating]],
    faces: NDArray[np.integer],
    landmarks: NDArray[np.integer],
) -> np.ndarray:
    """Draws meshes over photos, in a grid beside the photos themselves.

    Args:
        photos: `(n, size, size, 3)` uint8 RGB, the network's inputs.
        vertices: `n` times `(V, 3)` in crop units.
        faces: `(F, 3)` vertex indices.
        landmarks: `(68,)` vertex indices.

    Returns:
        `(height, width, 3)` uint8 RGB: two photos a row, each with its
        drawing on its right.
    """
    cells = []
    for photo, mesh in zip(photos, vertices, strict=True):
        enlarged = np.asarray(
            cv2.resize(photo, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR),
            np.uint8,
        )
        scale = _SIDE / CROP_UNITS
        pixels = np.array(mesh, np.float64) * scale
        pixels[:, :2] += 0.5 * scale - 0.5
        drawing = Drawing(enlarged)
        drawing.draw_mesh(pixels, faces)
        drawing.draw_landmarks(pixels[landmarks])
        cells.append(np.concatenate([enlarged, drawing.pixels], axis=1))
    if len(cells) % 2:
        cells.append(np.zeros_like(cells[0]))
    rows = [
        np.concatenate(cells[start : start + 2], axis=1)
        for start in range(0, len(cells), 2)
    ]
    return np.concatenate(rows)
