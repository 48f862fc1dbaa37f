import pytest

from tf_facegcn.layers.lowering_choice import choose_lowering


@pytest.mark.parametrize(
    ("shape", "backend", "device", "expected"),
    [
        ((53215, 53215), "tensorflow", "cpu", "compiled"),
        ((64, 16), "tensorflow", "cpu", "compiled"),
        ((16, 16), "tensorflow", "cpu", "gather"),
        ((16, 16), "tensorflow", "gpu", "compiled"),
        ((53215, 53215), "jax", "gpu", "gather"),
    ],
)
def test_chooses_by_size_backend_and_device(shape, backend, device, expected):
    assert choose_lowering(shape, backend, device) == expected


def test_knows_where_it_runs():
    assert choose_lowering((4, 4)) in ("gather", "compiled")
