import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving import tensor_codec
from serving.tensor_codec import (
    TensorError,
    decode_tensor,
    encode_tensor,
    serialize_map_entry,
    serialize_tensor,
)

DTYPES = (
    *(np.float16, np.float32, np.float64, np.complex64, np.complex128),
    *(np.int8, np.int16, np.int32, np.int64, np.bool_),
    *(np.uint8, np.uint16, np.uint32, np.uint64),
    tf.bfloat16.as_numpy_dtype,
)


def values(dtype):
    numbers = np.arange(6).reshape(2, 3)
    return (numbers % 2 if dtype is np.bool_ else numbers).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_decodes_what_tensorflow_encodes(dtype):
    array = values(dtype)
    in_content = tf.make_tensor_proto(array[:0])
    in_content.tensor_shape.dim[0].size = len(array)
    in_content.tensor_content = array.tobytes()
    # As `AsProtoField`, TensorFlow Serving's default, has it.
    in_field = encode_tensor(array)
    assert not in_field.tensor_content
    for proto in (in_content, in_field):
        found = decode_tensor(proto)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(tf.make_ndarray(in_field), array)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_serializes_what_encoding_gives(dtype, shape):
    array = np.resize(values(dtype), shape).astype(dtype)
    found = tensor_pb2.TensorProto.FromString(serialize_tensor(array))
    assert found == encode_tensor(array)
    assert serialize_tensor(array) == found.SerializeToString()


def test_strings_come_in_both_ways():
    array = np.array([[b"a", b"\xff\x00"], [b"", b"d" * 300]], object)
    proto = tf.make_tensor_proto(array)
    np.testing.assert_array_equal(decode_tensor(proto), array)
    assert encode_tensor(array) == proto
    lengths = bytes([1, 2, 0, 0xAC, 0x02])
    content = lengths + b"".join(array.ravel())
    packed = tensor_pb2.TensorProto(
        dtype=proto.dtype, tensor_shape=proto.tensor_shape
    )
    packed.tensor_content = content
    np.testing.assert_array_equal(decode_tensor(packed), array)
    for wrong in (content[:-1], content + b"x", b"\xff" * 9, b"\x01"):
        packed.tensor_content = wrong
        with pytest.raises(TensorError):
            decode_tensor(packed)


def test_missing_values_repeat_the_last_one():
    proto = encode_tensor(np.array([1.0, 2.0], np.float32))
    proto.tensor_shape.dim[0].size = 5
    np.testing.assert_array_equal(decode_tensor(proto), [1, 2, 2, 2, 2])
    np.testing.assert_array_equal(tf.make_ndarray(proto), [1, 2, 2, 2, 2])
    del proto.float_val[:]
    np.testing.assert_array_equal(decode_tensor(proto), np.zeros(5))


@pytest.mark.parametrize(
    "sizes",
    [(-1,), (2**62, 2**62), (10**9,), (0, 2**62, 2**62), (1,) * 65, (3,)],
)
def test_refuses_lying_shapes_before_it_allocates(sizes):
    proto = tf.make_tensor_proto(np.zeros(2, np.float32))
    del proto.tensor_shape.dim[:]
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(TensorError):
        decode_tensor(proto)


@pytest.mark.parametrize("dtype", [0, 20, 21, 9999, 101])
def test_refuses_types_without_values(dtype):
    with pytest.raises(TensorError, match="type"):
        decode_tensor(tensor_pb2.TensorProto(dtype=dtype))


def test_refuses_an_unknown_rank():
    proto = encode_tensor(np.zeros(2, np.float32))
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(TensorError, match="rank"):
        decode_tensor(proto)


@given(content=st.binary(max_size=200))
def test_survives_any_message(content):
    try:
        proto = tensor_pb2.TensorProto.FromString(content)
    except DecodeError:
        return
    try:
        array = decode_tensor(proto)
    except TensorError:
        return
    assert array.nbytes <= tensor_codec.MAX_TENSOR_BYTES


def test_entries_of_a_map_are_those_of_protobuf():
    array = np.linspace(0, 1, 300, dtype=np.float32)
    entry = serialize_map_entry(b"\x0a", "vertices", serialize_tensor(array))
    expected = predict_pb2.PredictResponse()
    expected.outputs["vertices"].CopyFrom(encode_tensor(array))
    assert entry == expected.SerializeToString()
