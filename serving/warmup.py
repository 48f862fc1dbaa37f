"""Warm-up requests of a SavedModel, in TensorFlow Serving's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

# Where TensorFlow Serving looks, below a version's folder.
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")


def write_warmup_requests(
    folder: Path, model_name: str, input_size: int
) -> None:
    """Writes a request for each signature that has a fixed input.

    The first call of a graph takes ten times as long as the next ones; a
    server makes these calls before it answers any.

    Args:
        folder: The version's folder.
        model_name: Name of the model; servers put in their own.
        input_size: Side of the network's photos in pixels.
    """
    file = folder / WARMUP_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    photo = np.zeros((1, input_size, input_size, 3), np.uint8)
    encoded = tf.io.encode_jpeg(photo[0]).numpy()
    box = np.array([[0, 0, input_size, input_size]], np.float32)
    inputs: dict[str, dict[str, np.ndarray]] = {
        "serving_default": {"photos": photo},
        "float": {"photos": photo.astype(np.float32)},
        "landmarks": {"photos": photo},
        "encoded": {"photos": np.array([encoded], object)},
        "encoded_boxes": {
            "photos": np.array([encoded], object),
            "boxes": box,
        },
    }
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, tensors in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, value in tensors.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
