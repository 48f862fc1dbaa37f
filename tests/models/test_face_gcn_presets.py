import dataclasses
import re

import pytest

from tf_facegcn.models.face_gcn_presets import PRESETS, FaceGCNPreset


@pytest.mark.parametrize("name", PRESETS)
def test_restores_a_preset_of_json(name):
    fields = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(PRESETS[name]).items()
    }
    assert FaceGCNPreset.of_fields(fields) == PRESETS[name]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("encoder_depths", (1, 1)),
        ("decoder_growths", (2, 2, 2, 2)),
        ("decoder_growths", ()),
        ("aggregation_widths", (4, 4)),
    ],
)
def test_rejects_tuples_that_do_not_fit_the_stages(name, wrong):
    with pytest.raises(ValueError, match=re.escape(f"{name}={wrong}")):
        dataclasses.replace(PRESETS["tiny"], **{name: wrong})


def test_rejects_an_input_that_does_not_halve():
    with pytest.raises(ValueError, match="input_size=36"):
        dataclasses.replace(PRESETS["tiny"], input_size=36)


def test_rejects_a_misspelt_field():
    with pytest.raises(ValueError, match="did you mean order"):
        FaceGCNPreset.of_fields({"ordr": 3})


def test_rejects_missing_fields():
    with pytest.raises(ValueError, match="needs the argument 'input_size'"):
        FaceGCNPreset.of_fields({"order": 3})
