"""ModelLoader: loads versions and warms them up."""

from __future__ import annotations

import logging
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.inference import DEFAULT_SIGNATURE, decode_inputs, signature_of
from serving.loaded_model import LoadedModel
from serving.serving_error import ServingError
from serving.warmup import WARMUP_FILE

# TensorFlow Serving takes no more.
_MOST_REQUESTS = 1000

_LOGGER = logging.getLogger(__name__)


class ModelLoader:
    """Loads versions and warms them up.

    Args:
        intra_op_threads: TensorFlow's threads for one operation; 0 for all
            cores.
        inter_op_threads: TensorFlow's threads for operations side by side.
        warm_up: Whether the warm-up requests of a version are made.
    """

    def __init__(
        self,
        intra_op_threads: int = 0,
        inter_op_threads: int = 0,
        *,
        warm_up: bool = True,
    ) -> None:
        self._warm_up = warm_up
        self._config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
        )

    def __call__(self, name: str, folder: Path) -> LoadedModel:
        """Loads a version.

        Args:
            name: The model's name.
            folder: The version's folder.

        Raises:
            ValueError: If it cannot be loaded, or a warm-up request fails.
        """
        model = LoadedModel(folder, self._config)
        if self._warm_up:
            try:
                self._run_warmup_requests(model, folder / WARMUP_FILE)
            except (ServingError, tf.errors.OpError) as error:
                model.close()
                raise ValueError(
                    f"{folder}: a warm-up request failed: {error}"
                ) from error
        return model

    def _run_warmup_requests(self, model: LoadedModel, path: Path) -> None:
        if not path.is_file():
            return
        records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        for number, record in enumerate(records):
            if number >= _MOST_REQUESTS:
                raise ValueError(
                    f"{path}: expected at most {_MOST_REQUESTS} requests"
                )
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                _LOGGER.warning(
                    "%s: a warm-up request that is no Predict is left out", path
                )
                continue
            request = log.predict_log.request
            signature_name = (
                request.model_spec.signature_name or DEFAULT_SIGNATURE
            )
            signature = signature_of(model, signature_name)
            model.run(signature_name, decode_inputs(signature, request.inputs))
