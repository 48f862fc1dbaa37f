import numpy as np

from tf_facegcn.layers.matrix_encoding import decode_matrix, encode_matrix


def test_a_decoded_matrix_is_the_encoded_one(random_matrix):
    text = encode_matrix(random_matrix)
    assert text.isascii()
    decoded = decode_matrix(text)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded.toarray(), random_matrix.toarray())
