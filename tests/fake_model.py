"""FakeFaceModel: stands in for a trained network."""

import numpy as np

from tests.geometry.meshes import make_icosphere
from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.imaging.bounding_box import CROP_SIDE_RATIO

POSE = (20.0, -10.0, 5.0)  # Yaw, pitch, roll in degrees.


class FakeFaceModel:
    """Predicts the same head, in the middle of every crop.

    The head is a sphere of 642 vertices in a fixed pose; its 68 landmarks lie
    on the side that faces the viewer at rest. Their box fills the crop as the
    landmarks of a true face do, so that cropping again changes nothing. With
    `offset`, `(2,)` in crop units, the head lies beside the middle; `pose` is
    another than POSE.

    Attributes:
        batches: The shapes of the inputs so far.
    """

    input_size = 32

    def __init__(self, offset=(0.0, 0.0), pose=POSE):
        sphere = make_icosphere(3)
        model_space = 80 * sphere.vertices
        # In crop units, as FaceGCN has it: y down, around the crop's middle.
        self.template = (
            1.2 * model_space * [1, -1, 1] + [127.5, 127.5, 0]
        ).astype(np.float32)
        self.faces = sphere.faces
        front = np.argsort(-sphere.vertices[:, 2], kind="stable")[:68]
        self.landmarks = np.sort(front).astype(np.int32)
        head = project(model_space, compose_camera(1.0, *pose, np.zeros(3)))
        points = head[self.landmarks, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        head[:, :2] -= (low + high) / 2
        head *= 256 / CROP_SIDE_RATIO / (high - low).max()
        head[:, :2] += 127.5 + np.asarray(offset)
        self._output = head.astype(np.float32)
        self.batches = []

    def predict_on_batch(self, x):
        if x.dtype != np.float32 or x.min() < 0 or x.max() > 1:
            raise ValueError("Expected float32 crops from 0 to 1")
        self.batches.append(x.shape)
        return np.repeat(self._output[None], len(x), axis=0)
