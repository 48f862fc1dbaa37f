"""What REST sends and receives: JSON to tensors, and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import input_pb2

from serving.loaded_model import Arrays, Signature, dtype_text
from serving.serving_error import invalid_argument

_BASE64_KEY = "b64"
# Of a JSON value in a message.
_MOST_CHARACTERS = 100


class JsonError(ValueError):
    """A JSON value that is no tensor of the type wanted."""


def inputs_of_body(
    body: Mapping[str, Any], signature: Signature
) -> tuple[Arrays, bool]:
    """Reads the inputs of a prediction.

    Args:
        body: With either "instances", a list of rows, or "inputs", columns.
        signature: Says of which types.

    Returns:
        The inputs, and whether they came in rows.

    Raises:
        ServingError: If they are wrong.
    """
    in_rows = "instances" in body
    if in_rows and "inputs" in body:
        raise invalid_argument(
            "Not formatted correctly: expecting only one of 'inputs' or "
            "'instances' keys to exist"
        )
    if not in_rows and "inputs" not in body:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    read = _of_rows if in_rows else _of_columns
    try:
        return read(body["instances" if in_rows else "inputs"], signature), (
            in_rows
        )
    except JsonError as error:
        raise invalid_argument(str(error)) from error


def body_of_outputs(outputs: Arrays, *, in_rows: bool) -> dict[str, Any]:
    """Writes the outputs of a prediction, in rows or columns.

    Raises:
        ServingError: If there are no rows in them.
    """
    if in_rows:
        return {"predictions": _rows(outputs)}
    columns = {name: _plain(name, value) for name, value in outputs.items()}
    single = len(columns) == 1
    return {"outputs": next(iter(columns.values())) if single else columns}


def _of_rows(rows: Any, signature: Signature) -> Arrays:
    if not isinstance(rows, list):
        raise JsonError("Expecting 'instances' to be a list/array")
    if not rows:
        raise JsonError("No values in 'instances' array")
    names = sorted(signature.inputs)
    by_name = _is_object(rows[0])
    if not by_name and len(names) > 1:
        raise JsonError(
            "instances is a plain list, but expecting list of objects as "
            f"multiple input tensors required: {','.join(names)}"
        )
    for number, row in enumerate(rows):
        if _is_object(row) != by_name:
            raise JsonError(
                f"Expecting {'object' if by_name else 'value/list'} but got "
                f"{'value/list' if by_name else 'object'} at item {number} of "
                "input list"
            )
        if by_name and set(row) != set(names):
            raise JsonError(
                f"Failed to process element: {number} of 'instances' list. "
                f"JSON object: {_shortened(row)} keys must be equal to: "
                f"{','.join(names)}"
            )
    if not by_name:
        return {names[0]: _array(names[0], rows, signature)}
    return {
        name: _array(name, [row[name] for row in rows], signature)
        for name in names
    }


def _of_columns(columns: Any, signature: Signature) -> Arrays:
    names = sorted(signature.inputs)
    if not _is_object(columns):
        if len(names) > 1:
            raise JsonError(
                "inputs is a plain value/list, but expecting an object as "
                f"multiple input tensors required: {','.join(names)}"
            )
        return {names[0]: _array(names[0], columns, signature)}
    for name in names:
        if name not in columns:
            raise JsonError(f"Missing named input: {name} in 'inputs' object.")
    for name in columns:
        if name not in signature.inputs:
            raise JsonError(
                f"JSON object: does not have named input: {name}. Inputs "
                f"expected: {','.join(names)}"
            )
    return {name: _array(name, columns[name], signature) for name in names}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {_BASE64_KEY}


def _array(name: str, value: Any, signature: Signature) -> np.ndarray:
    """Makes an array of an input's type out of JSON."""
    dtype = tf.dtypes.as_dtype(signature.inputs[name].dtype)
    try:
        shape, items = _flatten(value)
        if dtype == tf.string:
            array = np.empty(len(items), object)
            array[:] = [_bytes(item) for item in items]
        else:
            array = _numbers(items, dtype)
    except (JsonError, RecursionError) as error:
        raise JsonError(f"Failed to process input {name}: {error}") from error
    return array.reshape(shape)


def _flatten(value: Any) -> tuple[list[int], list[Any]]:
    """Finds the shape of nested lists, and what they hold in order."""
    shape: list[int] = []
    items = [value]
    while items and isinstance(items[0], list):
        size = len(items[0])
        for item in items:
            if not isinstance(item, list):
                raise JsonError(
                    f"JSON Value: {_shortened(item)} found at incorrect "
                    f"level: {len(shape)}, where there are lists"
                )
            if len(item) != size:
                raise JsonError(
                    f"Encountered list at unexpected size: {len(item)} at "
                    f"level: {len(shape)} expected size: {size}"
                )
        shape.append(size)
        items = [item for row in items for item in row]
    for item in items:
        if isinstance(item, list):
            raise JsonError(
                f"Encountered list at unexpected level: {len(shape)}"
            )
    return shape, items


def _numbers(items: list[Any], dtype: tf.DType) -> np.ndarray:
    kinds: tuple[type, ...] = (int,)
    if dtype == tf.bool:
        kinds = (bool,)
    elif dtype.is_floating:
        kinds = (int, float)
    for item in items:
        # To Python, a truth value is a number.
        if type(item) not in kinds:
            raise _type_error(item, dtype)
    try:
        with np.errstate(over="ignore"):
            array = np.array(items).astype(dtype.as_numpy_dtype)
    except OverflowError:
        array = np.zeros(0)
    except (TypeError, ValueError) as error:
        raise JsonError(
            f"Conversion of JSON values to type {_name(dtype)} is not supported"
        ) from error
    is_held = (
        np.isinf(np.array(items, np.float64)) == np.isinf(array)
        if dtype.is_floating and len(array)
        else [array.tolist() == items]
    )
    if not np.all(is_held):
        raise JsonError(f"a number that type {_name(dtype)} cannot hold")
    return array


def _bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and set(item) == {_BASE64_KEY}:
        try:
            return base64.b64decode(item[_BASE64_KEY], validate=True)
        except (TypeError, ValueError) as error:
            raise JsonError(f"Unable to base64 decode: {error}") from error
    raise _type_error(item, tf.string)


def _type_error(item: Any, dtype: tf.DType) -> JsonError:
    kind = {
        str: "String",
        bool: "Boolean",
        int: "Number",
        float: "Number",
        dict: "Object",
        type(None): "Null",
    }[type(item)]
    return JsonError(
        f"JSON Value: {_shortened(item)} Type: {kind} is not of expected type: "
        f"{_name(dtype)}"
    )


def _name(dtype: tf.DType) -> str:
    return dtype_text(dtype.as_datatype_enum)


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]}..."


def _rows(outputs: Arrays) -> list[Any]:
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(
                f'Output {name} has no batch; ask with "inputs" instead of '
                '"instances"'
            )
    if len({len(array) for array in outputs.values()}) > 1:
        raise invalid_argument(
            'Outputs have batches of different sizes; ask with "inputs" '
            'instead of "instances"'
        )
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def _plain(name: str, array: np.ndarray) -> Any:
    """Makes JSON of an array; bytes become base64 if the name says so."""
    if array.dtype != object:
        return array.tolist()
    values = np.empty(array.shape, object)
    for place, item in np.ndenumerate(array):
        values[place] = (
            {_BASE64_KEY: base64.b64encode(item).decode()}
            if name.endswith("_bytes")
            else item.decode(errors="replace")
        )
    return values.tolist()


def examples_of_body(body: Mapping[str, Any]) -> input_pb2.Input:
    """Reads the examples of a classification or regression.

    Raises:
        ServingError: If they are wrong.
    """
    rows = body.get("examples")
    if not isinstance(rows, list) or not rows:
        raise invalid_argument(
            'Expected "examples" to be a list that is not empty'
        )
    found = input_pb2.Input()
    if "context" in body:
        examples = found.example_list_with_context
        _fill(examples.context, body["context"])
    else:
        examples = found.example_list
    for row in rows:
        _fill(examples.examples.add(), row)
    return found


def _fill(example: example_pb2.Example, features: Any) -> None:
    if not isinstance(features, dict):
        raise invalid_argument("Expected an object of features as an example")
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        try:
            if all(type(item) is int for item in values):
                feature.int64_list.value.extend(values)
            elif all(type(item) in (int, float) for item in values):
                feature.float_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(map(_bytes, values))
        except (TypeError, ValueError) as error:
            raise invalid_argument(
                f"Expected numbers or strings as feature {name}: {error}"
            ) from error
