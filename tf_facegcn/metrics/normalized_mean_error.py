"""NormalizedMeanError: landmark error relative to the size of the face."""

import keras
import numpy as np
from keras import ops


def normalized_mean_error(y_true, y_pred, size):
    """Computes the mean distance of points over the size of the face.

    Args:
        y_true: `(batch, points, dimensions)` true points.
        y_pred: `(batch, points, dimensions)` predicted points.
        size: `(batch,)` size of each face in the same unit, such as
            `bounding_box_size` of its landmarks.

    Returns:
        `(batch,)` errors as a fraction; times 100 it is the usual per cent.
    """
    squares = ops.square(ops.subtract(y_pred, y_true))
    distances = ops.sqrt(ops.sum(squares, axis=-1))
    return ops.divide(ops.mean(distances, axis=-1), size)


def bounding_box_size(landmarks):
    """Computes `sqrt(width * height)` of each face's tight box in x and y.

    Args:
        landmarks: `(batch, points, 2 or 3)`.

    Returns:
        `(batch,)` sizes.
    """
    points = ops.convert_to_tensor(landmarks)[:, :, :2]
    extent = ops.max(points, axis=1) - ops.min(points, axis=1)
    return ops.sqrt(ops.prod(extent, axis=-1))


@keras.saving.register_keras_serializable(package="tf_facegcn")
class NormalizedMeanError(keras.metrics.Metric):
    """Normalised mean error of landmarks on a mesh, in per cent.

    The mean over faces of the mean distance of a face's landmarks in the
    image plane, over `sqrt(width * height)` of the tight box of its true
    landmarks (paper, Sec. V-A).

    Args:
        landmarks: `(points,)` integers, the landmarks' vertex indices.
        dimensions: Integer, 2 for distances in the image plane, 3 for
            distances in space.
        name: Name of the metric.
        **kwargs: Arguments of `keras.metrics.Metric`.

    Example:
        >>> metric = NormalizedMeanError(landmarks=[0, 1])
        >>> y_true = np.array([[[0.0, 0, 0], [10, 10, 0], [5, 5, 5]]])
        >>> print(round(float(metric(y_true, y_true + [3.0, 0, 0])), 3))
        30.0
    """

    def __init__(
        self, landmarks, dimensions=2, name="normalized_mean_error", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        if dimensions not in (2, 3):
            raise ValueError(
                f"dimensions must be 2 or 3. Received: dimensions={dimensions}"
            )
        self.landmarks = np.array(landmarks, dtype="int32")
        if self.landmarks.ndim != 1 or not len(self.landmarks):
            raise ValueError(
                "landmarks must be a list of vertex indices. Received: "
                f"landmarks of shape {self.landmarks.shape}"
            )
        self.dimensions = dimensions
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch of meshes.

        Args:
            y_true: `(batch, vertices, 3)`.
            y_pred: `(batch, vertices, 3)`.
            sample_weight: `(batch,)` weight of each face, or `None`.
        """
        points_true = self._points(y_true)
        points_pred = self._points(y_pred)
        errors = normalized_mean_error(
            points_true[:, :, : self.dimensions],
            points_pred[:, :, : self.dimensions],
            bounding_box_size(points_true),
        )
        weights = ops.ones_like(errors)
        if sample_weight is not None:
            weights = ops.cast(ops.reshape(sample_weight, (-1,)), errors.dtype)
        self.total.assign_add(ops.sum(errors * weights))
        self.count.assign_add(ops.sum(weights))

    def result(self):
        """Returns the error in per cent; 0 before the first batch."""
        return 100.0 * ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        config = super().get_config()
        config.update(
            landmarks=self.landmarks.tolist(), dimensions=self.dimensions
        )
        return config

    def _points(self, vertices):
        vertices = ops.cast(ops.convert_to_tensor(vertices), self.dtype)
        return ops.take(vertices, self.landmarks, axis=1)
