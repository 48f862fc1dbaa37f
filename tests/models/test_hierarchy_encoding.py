import pytest

from tf_facegcn.models.hierarchy_encoding import (
    decode_hierarchy,
    encode_hierarchy,
)


def test_decoding_restores_the_hierarchy(tiny_hierarchy):
    text = encode_hierarchy(tiny_hierarchy)
    assert text.isascii()
    revived = decode_hierarchy(text)
    assert revived.fingerprint == tiny_hierarchy.fingerprint
    assert revived.sizes == tiny_hierarchy.sizes


def test_refuses_damaged_text(tiny_hierarchy):
    text = encode_hierarchy(tiny_hierarchy)
    with pytest.raises(ValueError, match="damaged"):
        decode_hierarchy(text[: len(text) // 8 * 4])
