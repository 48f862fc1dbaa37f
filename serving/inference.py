"""Inference: answers requests from the models of a manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.admission import Admission
from serving.batching import Batcher
from serving.example_signatures import (
    CLASSIFY,
    REGRESS,
    check_examples_signature,
    classifications,
    regressions,
    serialized_examples,
)
from serving.loaded_model import Arrays, LoadedModel, Signature
from serving.metrics import Metrics
from serving.model_manager import ModelManager
from serving.serving_error import ServingError, invalid_argument
from serving.tensor_codec import TensorError, decode_tensor

DEFAULT_SIGNATURE = "serving_default"
_METHODS = {CLASSIFY: "Classify", REGRESS: "Regress"}


class Inference:
    """What both interfaces, gRPC and REST, answer with.

    Args:
        manager: The models.
        admission: How many requests run at a time.
        batcher: Runs requests together; `None` to run each alone.
        metrics: Notes how long they run.
        check_method_names: Whether Classify and Regress need a signature of
            that method; those that TensorFlow 2 writes have none.
    """

    def __init__(
        self,
        manager: ModelManager,
        admission: Admission,
        batcher: Batcher | None = None,
        metrics: Metrics | None = None,
        *,
        check_method_names: bool = False,
    ) -> None:
        self.manager = manager
        self.admission = admission
        self._batcher = batcher
        self._metrics = metrics or Metrics()
        self._check_method_names = check_method_names

    def predict(
        self,
        request: predict_pb2.PredictRequest,
        timeout: float | None = None,
    ) -> tuple[Arrays, model_pb2.ModelSpec]:
        """Answers Predict.

        Args:
            request: The request.
            timeout: Seconds until its deadline.

        Returns:
            The outputs, and which model gave them.

        Raises:
            ServingError: If it cannot be answered.
        """
        with self._use(request.model_spec) as (model, version):
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = signature_of(model, name)
            outputs = _checked_filter(signature, request.output_filter)
            with self.admission.admit(timeout) as remaining:
                inputs = decode_inputs(signature, request.inputs)
                with self._metrics.time_run("Predict", request.model_spec.name):
                    found = self._run(model, name, inputs, outputs, remaining)
        return found, _spec(request.model_spec.name, version, name)

    def classify(
        self,
        request: classification_pb2.ClassificationRequest,
        timeout: float | None = None,
    ) -> classification_pb2.ClassificationResponse:
        """Answers Classify; arguments and errors as `predict`."""
        response = classification_pb2.ClassificationResponse()
        found, count, spec = self._run_examples(
            request.model_spec, request.input, CLASSIFY, timeout
        )
        response.model_spec.CopyFrom(spec)
        response.result.CopyFrom(classifications(found, count))
        return response

    def regress(
        self,
        request: regression_pb2.RegressionRequest,
        timeout: float | None = None,
    ) -> regression_pb2.RegressionResponse:
        """Answers Regress; arguments and errors as `predict`."""
        response = regression_pb2.RegressionResponse()
        found, count, spec = self._run_examples(
            request.model_spec, request.input, REGRESS, timeout
        )
        response.model_spec.CopyFrom(spec)
        response.result.CopyFrom(regressions(found, count))
        return response

    def multi_inference(
        self,
        request: inference_pb2.MultiInferenceRequest,
        timeout: float | None = None,
    ) -> inference_pb2.MultiInferenceResponse:
        """Answers MultiInference; arguments and errors as `predict`."""
        _check_tasks(request.tasks)
        response = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            found, count, spec = self._run_examples(
                task.model_spec, request.input, task.method_name, timeout
            )
            result = response.results.add()
            result.model_spec.CopyFrom(spec)
            if task.method_name == CLASSIFY:
                result.classification_result.CopyFrom(
                    classifications(found, count)
                )
            else:
                result.regression_result.CopyFrom(regressions(found, count))
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers GetModelMetadata; errors as `predict`."""
        _check_name(request.model_spec)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one "
                "metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(
                    f"Metadata field {field} is not supported"
                )
        with self._use(request.model_spec) as (model, version):
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _use(self, spec: model_pb2.ModelSpec):  # type: ignore[no-untyped-def]
        _check_name(spec)
        return self.manager.use(spec.name, *version_choice(spec))

    def _run(
        self,
        model: LoadedModel,
        signature_name: str,
        inputs: Arrays,
        outputs: list[str],
        timeout: float | None,
    ) -> Arrays:
        if self._batcher is None:
            return model.run(signature_name, inputs, outputs)
        return self._batcher.run(
            model, signature_name, inputs, outputs, timeout
        )

    def _run_examples(
        self,
        spec: model_pb2.ModelSpec,
        examples: input_pb2.Input,
        method: str,
        timeout: float | None,
    ) -> tuple[Arrays, int, model_pb2.ModelSpec]:
        with self._use(spec) as (model, version):
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name not in model.signatures:
                raise invalid_argument(
                    f"No signature was found with the name: {name}"
                )
            signature = model.signatures[name]
            outputs = check_examples_signature(
                signature, method, check_method_name=self._check_method_names
            )
            serialized = serialized_examples(examples)
            inputs = {next(iter(signature.inputs)): serialized}
            with (
                self.admission.admit(timeout) as remaining,
                self._metrics.time_run(_METHODS[method], spec.name),
            ):
                found = self._run(model, name, inputs, outputs, remaining)
        return found, len(serialized), _spec(spec.name, version, name)


def version_choice(
    spec: model_pb2.ModelSpec,
) -> tuple[int | None, str | None]:
    """Reads the version or the label that a request names."""
    kind = spec.WhichOneof("version_choice")
    if kind == "version":
        return spec.version.value, None
    if kind == "version_label" and spec.version_label:
        return None, spec.version_label
    return None, None


def signature_of(model: LoadedModel, name: str) -> Signature:
    """Finds a signature.

    Raises:
        ServingError: If the model has no such signature.
    """
    if name not in model.signatures:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f'Serving signature key "{name}" not found.',
        )
    return model.signatures[name]


def decode_inputs(
    signature: Signature, inputs: Mapping[str, tensor_pb2.TensorProto]
) -> Arrays:
    """Decodes the tensors of a request.

    Raises:
        ServingError: If there are too many or too few, or one is wrong.
    """
    check_names(signature, inputs)
    found = {}
    for name, proto in inputs.items():
        try:
            found[name] = decode_tensor(proto)
        except TensorError as error:
            raise invalid_argument(
                f"tensor parsing error: {name} ({error})"
            ) from error
    return found


def check_names(signature: Signature, names: Iterable[str]) -> None:
    """Checks that inputs are those of a signature.

    Raises:
        ServingError: If not; says which are missing and which too many.
    """
    sent, expected = set(names), set(signature.inputs)
    if len(sent) != len(expected):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!="
            f"{len(expected)} len({_set(sent)}) != len({_set(expected)}). "
            f"Sent extra: {_set(sent - expected)}. "
            f"Missing but required: {_set(expected - sent)}."
        )
    for name in sorted(sent - expected):
        raise invalid_argument(
            f"input tensor alias not found in signature: {name}. Inputs "
            f"expected to be in the set {_set(expected)}. "
            f"Sent extra: {_set(sent - expected)}. "
            f"Missing but required: {_set(expected - sent)}."
        )


def _checked_filter(signature: Signature, names: Iterable[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        if name not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} Outputs "
                f"expected to be in the set {_set(set(signature.outputs))}."
            )
        if name in found:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
        found.append(name)
    return found


def _check_name(spec: model_pb2.ModelSpec) -> None:
    if spec == model_pb2.ModelSpec():
        raise invalid_argument("Missing ModelSpec")
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")


def _check_tasks(tasks: Iterable[inference_pb2.InferenceTask]) -> None:
    names, signatures = set(), set()
    for task in tasks:
        _check_name(task.model_spec)
        names.add(task.model_spec.name)
        if task.method_name not in (CLASSIFY, REGRESS):
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}",
            )
        signature = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if signature in signatures:
            raise invalid_argument(
                f"Duplicate evaluation of signature: {signature}"
            )
        signatures.add(signature)
    if not names:
        raise invalid_argument("Inference request has no tasks")
    if len(names) > 1:
        raise invalid_argument(
            "All ModelSpecs in a MultiInferenceRequest must access the same "
            f"model name. Received: {sorted(names)}"
        )


def _spec(name: str, version: int, signature: str) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _set(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
