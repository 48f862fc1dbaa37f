import dataclasses
import json

import pytest

from tf_facegcn.models.face_gcn_presets import ABLATIONS
from training.config import CONFIGS, TrainingConfig, get_config
from training.config_overrides import override


def test_each_configuration_has_the_name_it_is_found_by():
    for name, config in CONFIGS.items():
        assert get_config(name) is config
        assert config.name == name


def test_unknown_configuration_names_the_nearest():
    with pytest.raises(ValueError, match=r"mean 'lite'.*name='light'"):
        get_config("light")


@pytest.mark.parametrize(
    ("assignment", "read"),
    [
        ("epochs=2", lambda config: config.epochs == 2),
        ("learning_rate=1e-4", lambda config: config.learning_rate == 1e-4),
        ("deterministic=true", lambda config: config.deterministic is True),
        ("data_dir=a=b", lambda config: config.data_dir == "a=b"),
        (
            "augmentation.rotation=45",
            lambda config: config.augmentation.rotation == 45.0,
        ),
    ],
)
def test_override_changes_the_field_and_no_other(assignment, read):
    config = get_config("lite")
    before = dataclasses.asdict(config)
    changed = override(config, [assignment])
    assert read(changed)
    assert not read(config)
    after = dataclasses.asdict(changed)
    assert sum(before[key] != after[key] for key in before) == 1


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("learnin_rate=1", "mean 'learning_rate'"),
        ("augmentation.rotate=1", r"mean 'augmentation\.rotation'"),
        ("rotation=1", r"mean 'augmentation\.rotation'"),
        ("augmentation=1", "no such configuration key"),
        ("epochs.more=1", "mean 'epochs'"),
        ("epochs=many", "a whole number.*epochs=many"),
        ("epochs=1.5", "a whole number"),
        ("learning_rate=fast", "a number"),
        ("tensorboard=1", "true or false"),
        ("epochs", "Expected key=value"),
        ("epochs=0", "positive.*epochs=0"),
        ("precision=float31", "mixed_bfloat16.*float31"),
    ],
)
def test_wrong_override_says_what_was_expected(assignment, message):
    with pytest.raises(ValueError, match=message):
        override(get_config("lite"), [assignment])


def test_json_holds_every_field():
    written = json.loads(get_config("smoke").to_json())
    assert set(written) == {f.name for f in dataclasses.fields(TrainingConfig)}
    assert written["augmentation"]["mirror"] == 0.5


def test_the_papers_configuration_is_what_it_says():
    paper = get_config("paper")
    assert paper.preset == "paper"
    assert (paper.optimizer, paper.momentum) == ("sgd", 0.9)
    assert (paper.learning_rate, paper.schedule) == (1e-3, "exponential")
    assert (paper.decay, paper.batch_size) == (0.99, 48)
    # Sec. IV-B, and nothing else.
    changes = dataclasses.asdict(paper.augmentation)
    assert {name: x for name, x in changes.items() if x} == {
        "rotation": 45.0,
        "translation": 0.1,
        "scale_min": 0.9,
        "scale_max": 1.2,
    }


def test_there_is_a_configuration_for_each_ablation():
    for size in ("paper", "lite"):
        base = get_config(size)
        for ablation in ABLATIONS:
            name = f"{size}_{ablation}"
            expected = dataclasses.replace(base, name=name, preset=name)
            assert get_config(name) == expected


def test_only_lite_has_crops_of_a_second_pass():
    """The released `lite_synthetic` and the paper's training had none."""
    shares = {
        name: get_config(name).augmentation.second_pass
        for name in ("lite", "lite_synthetic", "smoke", "paper")
    }
    assert shares.pop("lite") == 0.5
    assert set(shares.values()) == {0.0}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("preset=papr", "one of .*paper.* preset='papr'"),
        ("strategy=mirored", "mirrored.*strategy='mirored'"),
        ("synthetic_share=2", "from 0 to 1.*synthetic_share=2"),
        ("accumulation_steps=5", "multiple of accumulation_steps"),
        ("augmentation.mirror=3", "mirror=3"),
        ("seed=-1", "not be negative.*seed=-1"),
    ],
)
def test_value_that_cannot_be_is_refused(assignment, message):
    with pytest.raises(ValueError, match=message):
        override(get_config("lite"), [assignment])
