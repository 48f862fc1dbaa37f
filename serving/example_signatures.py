"""Signatures that take `tf.train.Example`s: what Classify and Regress need."""

from __future__ import annotations

import itertools

import grpc
import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    regression_pb2,
)

from serving.loaded_model import Arrays, Signature
from serving.serving_error import ServingError, invalid_argument

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

_INPUTS = "inputs"
_OUTPUTS = "outputs"
_CLASSES = "classes"
_SCORES = "scores"
_KINDS = {CLASSIFY: "classification", REGRESS: "regression"}


def check_examples_signature(
    signature: Signature, method: str, *, check_method_name: bool
) -> list[str]:
    """Checks that a signature can classify or regress.

    Args:
        signature: The signature.
        method: `CLASSIFY` or `REGRESS`.
        check_method_name: Whether it must also be named so. Those that
            TensorFlow 2 writes are all named Predict.

    Returns:
        The outputs to ask for.

    Raises:
        ServingError: If it cannot.
    """
    kind = _KINDS[method]
    if check_method_name and signature.method_name != method:
        raise invalid_argument(
            f"Expected {kind} signature method_name to be {method}. "
            f"Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument(
            f"Expected one input Tensor. Found: {sorted(signature.inputs)}"
        )
    if _INPUTS not in signature.inputs:
        raise _unfit(f"No {kind} inputs found in SignatureDef", signature)
    if method == REGRESS:
        if len(signature.outputs) != 1:
            raise invalid_argument(
                "Expected one output Tensor. Found: "
                f"{sorted(signature.outputs)}"
            )
        if _OUTPUTS not in signature.outputs:
            raise _unfit(
                "No regression outputs found in SignatureDef", signature
            )
        return [_OUTPUTS]
    if len(signature.outputs) > 2:
        raise invalid_argument(
            "Expected one or two output Tensors, found "
            f"{len(signature.outputs)}"
        )
    found = [name for name in (_CLASSES, _SCORES) if name in signature.outputs]
    if not found:
        raise _unfit(
            "Expected classification signature outputs to contain at least "
            'one of "classes" or "scores"',
            signature,
        )
    return found


def serialized_examples(examples: input_pb2.Input) -> np.ndarray:
    """Serializes the examples of a request.

    Returns:
        `(n,)` bytes.

    Raises:
        ServingError: If there are none.
    """
    kind = examples.WhichOneof("kind")
    if kind == "example_list":
        items = [
            each.SerializeToString() for each in examples.example_list.examples
        ]
    elif kind == "example_list_with_context":
        # Joined messages merge: the context's features, then the example's.
        with_context = examples.example_list_with_context
        context = with_context.context.SerializeToString()
        items = [
            context + each.SerializeToString() for each in with_context.examples
        ]
    else:
        items = []
    if not items:
        raise invalid_argument("Input is empty.")
    values = np.empty(len(items), object)
    values[:] = items
    return values


def classifications(
    found: Arrays, num_examples: int
) -> classification_pb2.ClassificationResult:
    """Makes a result of classes `(n, k)`, scores `(n, k)`, or both.

    Raises:
        ServingError: If their shapes or types are others.
    """
    classes, scores = found.get(_CLASSES), found.get(_SCORES)
    if classes is not None:
        _check_matrix(_CLASSES, classes, np.object_, num_examples)
    if scores is not None:
        _check_matrix(_SCORES, scores, np.float32, num_examples)
    both = [each for each in (classes, scores) if each is not None]
    if len({each.shape for each in both}) > 1:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{both[0].shape[1]} vs. {both[1].shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(num_examples):
        item = result.classifications.add()
        for label, score in itertools.zip_longest(
            () if classes is None else classes[row],
            () if scores is None else scores[row],
        ):
            each = item.classes.add()
            if label is not None:
                each.label = label
            if score is not None:
                each.score = float(score)
    return result


def regressions(
    found: Arrays, num_examples: int
) -> regression_pb2.RegressionResult:
    """Makes a result of outputs `(n,)` or `(n, 1)`.

    Raises:
        ServingError: If their shape or type is another.
    """
    outputs = found[_OUTPUTS]
    if outputs.ndim not in (1, 2) or outputs.shape[1:] not in ((), (1,)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {list(outputs.shape)}"
        )
    if len(outputs) != num_examples:
        raise invalid_argument(
            "Input batch size did not match output batch size: "
            f"{num_examples} vs. {len(outputs)}"
        )
    _check_dtype("output", outputs, np.float32)
    result = regression_pb2.RegressionResult()
    for value in outputs.reshape(-1):
        result.regressions.add(value=float(value))
    return result


def _check_matrix(
    name: str, array: np.ndarray, dtype: type, num_examples: int
) -> None:
    if array.ndim != 2:
        raise invalid_argument(
            "Expected Tensor shape: [batch_size num_classes] but got "
            f"{list(array.shape)}"
        )
    _check_dtype(name, array, dtype)
    if len(array) != num_examples:
        raise invalid_argument(
            f"Expected {name} output batch size of {num_examples}. "
            f"Got: {len(array)}"
        )


def _check_dtype(name: str, array: np.ndarray, dtype: type) -> None:
    if array.dtype != dtype:
        expected = "DT_STRING" if dtype is np.object_ else "DT_FLOAT"
        raise invalid_argument(
            f"Expected {name} Tensor of {expected}. Got: {array.dtype}"
        )


def _unfit(message: str, signature: Signature) -> ServingError:
    described = {
        "inputs": sorted(signature.inputs),
        "outputs": sorted(signature.outputs),
    }
    return ServingError(
        grpc.StatusCode.FAILED_PRECONDITION, f"{message}: {described}"
    )
