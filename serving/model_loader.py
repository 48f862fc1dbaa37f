"""ModelLoader: loads versions and warms them up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import input_pb2, model_pb2, prediction_log_pb2

from serving.example_signatures import (
    CLASSIFY,
    REGRESS,
    check_examples_signature,
    serialized_examples,
)
from serving.inference import DEFAULT_SIGNATURE, decode_inputs, signature_of
from serving.loaded_model import LoadedModel
from serving.metrics import Metrics
from serving.serving_error import ServingError
from serving.warmup import WARMUP_FILE

# TensorFlow Serving takes no more.
_MOST_REQUESTS = 1000


class ModelLoader:
    """Loads versions and warms them up.

    Args:
        config: Of the sessions.
        tags: Of the graph to take.
        warm_up_repeats: How often the warm-up requests of a version are made;
            0 for never.
        metrics: Counts what is loaded.
    """

    def __init__(
        self,
        config: tf.compat.v1.ConfigProto | None = None,
        tags: Sequence[str] = ("serve",),
        warm_up_repeats: int = 1,
        metrics: Metrics | None = None,
    ) -> None:
        self._config = config
        self._tags = tuple(tags)
        self._warm_up_repeats = warm_up_repeats
        self._metrics = metrics or Metrics()

    def __call__(self, name: str, folder: Path) -> LoadedModel:
        """Loads a version.

        Args:
            name: The model's name.
            folder: The version's folder.

        Raises:
            ValueError: If it cannot be loaded, or a warm-up request fails.
        """
        started = time.perf_counter()
        is_ok = False
        try:
            model = LoadedModel(folder, self._config, self._tags)
            is_ok = True
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe_load(folder, seconds, is_ok=is_ok)
        file = folder / WARMUP_FILE
        if self._warm_up_repeats and file.is_file():
            self._warm_up(model, folder, file)
        return model

    def _warm_up(self, model: LoadedModel, folder: Path, file: Path) -> None:
        started = time.perf_counter()
        is_ok = False
        try:
            for log in _read_logs(file):
                for _ in range(self._warm_up_repeats):
                    _run_log(model, log)
            is_ok = True
        except (ServingError, tf.errors.OpError) as error:
            raise ValueError(
                f"{folder}: a warm-up request failed: {error}"
            ) from error
        finally:
            if not is_ok:
                model.close()
            seconds = time.perf_counter() - started
            self._metrics.observe_warm_up(folder, seconds, is_ok=is_ok)


def _read_logs(file: Path) -> list[prediction_log_pb2.PredictionLog]:
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    if len(records) > _MOST_REQUESTS:
        raise ValueError(
            f"{file}: expected at most {_MOST_REQUESTS} requests. "
            f"Found: {len(records)}"
        )
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in records
    ]


def _run_log(model: LoadedModel, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = decode_inputs(signature_of(model, name), request.inputs)
        model.run(name, inputs, request.output_filter)
    elif kind == "classify_log":
        classify = log.classify_log.request
        _run_examples(model, classify.model_spec, classify.input, CLASSIFY)
    elif kind == "regress_log":
        regress = log.regress_log.request
        _run_examples(model, regress.model_spec, regress.input, REGRESS)
    elif kind == "multi_inference_log":
        several = log.multi_inference_log.request
        for task in several.tasks:
            _run_examples(
                model, task.model_spec, several.input, task.method_name
            )
    else:
        raise ValueError(f"a warm-up request of kind {kind} is not supported")


def _run_examples(
    model: LoadedModel,
    spec: model_pb2.ModelSpec,
    examples: input_pb2.Input,
    method: str,
) -> None:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = signature_of(model, name)
    outputs = check_examples_signature(
        signature, method, check_method_name=False
    )
    inputs = {next(iter(signature.inputs)): serialized_examples(examples)}
    model.run(name, inputs, outputs)
