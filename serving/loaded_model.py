"""LoadedModel: a SavedModel in memory, ready to answer."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.serving_error import (
    ServingError,
    invalid_argument,
)

Arrays = dict[str, np.ndarray]
Signature: TypeAlias = meta_graph_pb2.SignatureDef

# The signature of a SavedModel that loads variables; nobody may call it.
_INTERNAL = "__saved_model_init_op"


class LoadedModel:
    """A SavedModel of TensorFlow 1 or 2, in a session of its own.

    Sessions take both, and answer whatever a signature names, as those of
    TensorFlow Serving do.

    Args:
        folder: A version's folder, with `saved_model.pb`.
        config: Of the session.
        tags: Of the graph to take.

    Raises:
        ValueError: If there is no SavedModel in the folder, none with the
            tags, or it cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        config: tf.compat.v1.ConfigProto | None = None,
        tags: Sequence[str] = ("serve",),
    ) -> None:
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, list(tags), str(folder)
                )
        except (OSError, RuntimeError, tf.errors.OpError) as error:
            self._session.close()
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{folder}: cannot be loaded as a SavedModel: {reason}"
            ) from error
        self.signatures: dict[str, Signature] = {
            name: signature
            for name, signature in meta_graph.signature_def.items()
            if name != _INTERNAL
        }
        self._graph = graph
        self._callables: dict[tuple[str, ...], Callable[..., Any]] = {}
        self._lock = Lock()

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] = (),
    ) -> Arrays:
        """Runs a signature.

        Args:
            signature_name: Which.
            inputs: Arrays by the names of the signature's inputs, all of them.
            outputs: Names of the outputs wanted; empty for all.

        Returns:
            Arrays by the names of the outputs.

        Raises:
            ServingError: If an array does not fit, or the graph fails.
        """
        signature = self.signatures[signature_name]
        names = sorted(signature.inputs)
        for number, name in enumerate(names):
            _check_input(number, name, inputs[name], signature.inputs[name])
        wanted = tuple(outputs) or tuple(sorted(signature.outputs))
        function = self._callable(signature_name, names, wanted)
        try:
            found = function(*(inputs[name] for name in names))
        except tf.errors.OpError as error:
            raise ServingError.of_tensorflow(error) from error
        except (ValueError, TypeError) as error:
            # NumPy or the session could not convert an array.
            raise invalid_argument(str(error)) from error
        return dict(zip(wanted, map(_array, found), strict=True))

    def close(self) -> None:
        """Frees its memory; nothing may run any more."""
        self._callables.clear()
        self._session.close()
        del self._session, self._graph
        # Graphs have cycles, and hold the memory of their constants.
        gc.collect()

    def _callable(
        self, signature_name: str, names: list[str], wanted: tuple[str, ...]
    ) -> Callable[..., Any]:
        key = (signature_name, *wanted)
        with self._lock:
            found = self._callables.get(key)
            if found is None:
                signature = self.signatures[signature_name]
                found = self._session.make_callable(
                    [_tensor(signature.outputs[name]) for name in wanted],
                    [_tensor(signature.inputs[name]) for name in names],
                )
                self._callables[key] = found
        return found


def shape_text(shape: tensor_shape_pb2.TensorShapeProto) -> str:
    """Writes a shape as TensorFlow does, `[?,256,256,3]`."""
    if shape.unknown_rank:
        return "<unknown>"
    sizes = ("?" if dim.size < 0 else str(dim.size) for dim in shape.dim)
    return f"[{','.join(sizes)}]"


def dtype_text(dtype: int) -> str:
    """Writes a type as TensorFlow does, `float`, `uint8`, `string`."""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def _check_input(
    number: int,
    name: str,
    array: np.ndarray,
    expected: meta_graph_pb2.TensorInfo,
) -> None:
    dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    if dtype != expected.dtype:
        raise invalid_argument(
            f"Expects arg[{number}] to be {dtype_text(expected.dtype)} but "
            f"{dtype_text(dtype)} is provided ({name})"
        )
    shape = expected.tensor_shape
    sizes = [dim.size for dim in shape.dim]
    if not shape.unknown_rank and not (
        len(sizes) == array.ndim
        and all(
            size in (-1, found)
            for size, found in zip(sizes, array.shape, strict=True)
        )
    ):
        found = ",".join(map(str, array.shape))
        raise invalid_argument(
            f"Shape of tensor {name} [{found}] is not compatible with expected "
            f"shape {shape_text(shape)}"
        )


def _array(value: Any) -> np.ndarray:
    # Sessions return a scalar string as bytes.
    return np.array(value, object if isinstance(value, bytes) else None)


def _tensor(info: meta_graph_pb2.TensorInfo) -> str:
    if info.WhichOneof("encoding") != "name":
        raise invalid_argument(
            "Only dense tensors are supported; the signature has a sparse or "
            "composite one"
        )
    return str(info.name)
