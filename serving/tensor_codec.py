"""Tensors of requests and responses, to and from NumPy.

TensorFlow's own functions trust the shape that a message claims, and take
60 ms for a mesh; these check first, and take 0.2 ms.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2, types_pb2

# A tensor that repeats one value may claim more memory than its message has;
# none of a request may claim more than this.
MAX_TENSOR_BYTES = 1 << 28

# The field of `TensorProto` that holds values of a type.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_QINT8: "int_val",
    types_pb2.DT_QUINT8: "int_val",
    types_pb2.DT_QINT16: "int_val",
    types_pb2.DT_QUINT16: "int_val",
    types_pb2.DT_QINT32: "int_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}
_HALVES = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
_COMPLEX = (types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128)
# Number and wire type of the fields of `TensorProto` whose values are packed
# as they lie in memory.
_PACKED_TAGS = {
    np.dtype(np.float32): b"\x2a",
    np.dtype(np.float64): b"\x32",
}
_CONTENT_TAG = b"\x22"
_LONGEST_VARINT = 5
# NumPy has no more axes; TensorFlow has 254.
_MAX_RANK = 64


class TensorError(ValueError):
    """A tensor's message that contradicts itself."""


def decode_tensor(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Decodes a tensor.

    Values that are missing repeat the last one, as in TensorFlow.

    Args:
        proto: The message.

    Returns:
        The array; strings are `bytes` in an array of objects.

    Raises:
        TensorError: If type, shape and content do not fit one another.
    """
    field = _FIELDS.get(proto.dtype)
    if field is None:
        raise TensorError(f"type {proto.dtype}")
    shape = _shape(proto)
    count = math.prod(shape)
    dtype = tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype
    item_size = 8 if dtype is object else np.dtype(dtype).itemsize
    # NumPy multiplies the sizes that are not 0 even where another one is.
    if math.prod(size or 1 for size in shape) * item_size > MAX_TENSOR_BYTES:
        raise TensorError(f"shape {shape}")
    if proto.tensor_content:
        return _of_content(proto.tensor_content, count, dtype).reshape(shape)
    values = _values(getattr(proto, field), proto.dtype, dtype)
    if len(values) < count:
        filling = values[-1:] if len(values) else _zero(dtype)
        missing = np.repeat(filling, count - len(values))
        values = np.concatenate([values, missing])
    return values[:count].reshape(shape)


def encode_tensor(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Encodes a tensor, its values in the field of their type."""
    array = np.asarray(array)
    dtype = tf.dtypes.as_dtype(array.dtype)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    values = array.ravel()
    if proto.dtype in _HALVES:
        values = values.view(np.uint16)
    elif proto.dtype in _COMPLEX:
        values = values.view(values.real.dtype)
    items = values.tolist()
    if proto.dtype == types_pb2.DT_STRING:
        items = [
            item if isinstance(item, bytes) else str(item).encode()
            for item in items
        ]
    getattr(proto, _FIELDS[proto.dtype]).extend(items)
    return proto


def serialize_tensor(array: np.ndarray, *, as_content: bool = False) -> bytes:
    """Serializes what `encode_tensor` makes, without making it.

    The values of floats are spliced in as they lie in memory, which gives the
    same bytes a hundred times faster.

    Args:
        array: The values.
        as_content: Whether numbers go into `tensor_content`, little-endian,
            rather than into the field of their type.
    """
    array = np.asarray(array)
    tag = _CONTENT_TAG if as_content else _PACKED_TAGS.get(array.dtype)
    if tag is None or not array.size or array.dtype == object:
        return encode_tensor(array).SerializeToString()
    head = encode_tensor(array.ravel()[:0])
    del head.tensor_shape.dim[:]
    for size in array.shape:
        head.tensor_shape.dim.add(size=size)
    content = array.tobytes()
    return head.SerializeToString() + tag + varint(len(content)) + content


def serialize_map_entry(tag: bytes, key: str, value: bytes) -> bytes:
    """Serializes an entry of a map from strings to messages.

    Args:
        tag: Number and wire type of the map's field.
        key: The key.
        value: The serialized message.
    """
    name = key.encode()
    entry = b"".join(
        [b"\x0a", varint(len(name)), name, b"\x12", varint(len(value)), value]
    )
    return tag + varint(len(entry)) + entry


def varint(number: int) -> bytes:
    """Serializes a number that is not negative."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _shape(proto: tensor_pb2.TensorProto) -> list[int]:
    if proto.tensor_shape.unknown_rank:
        raise TensorError("unknown rank")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if any(size < 0 for size in shape):
        raise TensorError("negative size")
    if len(shape) > _MAX_RANK:
        raise TensorError(f"rank {len(shape)}")
    return shape


def _of_content(content: bytes, count: int, dtype: type) -> np.ndarray:
    if dtype is object:
        return _strings(content, count)
    if len(content) != count * np.dtype(dtype).itemsize:
        raise TensorError(f"{len(content)} bytes for {count} elements")
    return np.frombuffer(content, dtype)


def _values(field: Message, kind: int, dtype: type) -> np.ndarray:
    if dtype is object:
        values = np.empty(len(field), object)
        values[:] = list(field)
        return values
    if kind in _HALVES:
        return np.array(field, np.int64).astype(np.uint16).view(dtype)
    if kind in _COMPLEX:
        parts = np.array(field[: len(field) // 2 * 2], np.float64)
        return (parts[::2] + 1j * parts[1::2]).astype(dtype)
    if _FIELDS[kind] == "int_val":
        # Wraps around as TensorFlow does.
        return np.array(field, np.int32).astype(dtype)
    return np.array(field, dtype)


def _zero(dtype: type) -> np.ndarray:
    if dtype is object:
        return np.array([b""], object)
    return np.zeros(1, dtype)


def _strings(content: bytes, count: int) -> np.ndarray:
    """Decodes all lengths and then all bytes, as TensorFlow stores strings."""
    lengths, position = [], 0
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift >= 7 * _LONGEST_VARINT:
                raise TensorError("lengths of strings break off")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise TensorError("strings of another length")
    values = np.empty(count, object)
    for number, length in enumerate(lengths):
        values[number] = content[position : position + length]
        position += length
    return values
