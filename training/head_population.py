"""A population of heads, sampled from MakeHuman's targets."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from training.control_head import ControlHead
from training.makehuman_source import MakeHumanSource

_ANCESTRIES = ("african", "asian", "caucasian")
_SEXES = ("female", "male")
_AGES = ("child", "young", "old")
_LEVELS = ("min", "average", "max")

# Folders whose targets shape a head. `asym` is left out: left and right are
# sampled apart here.
_DETAIL_FOLDERS = (
    *("head", "forehead", "eyebrows", "eyes", "nose"),
    *("mouth", "chin", "cheek", "ears", "neck"),
)
# Share of children among the sampled heads.
_CHILDREN = 0.12
# Strength of a detail target: a half-normal, clipped to the range [0, 1]
# in which MakeHuman's targets are drawn.
_DETAIL_DEVIATION = 0.28
# Targets that shape mostly the skull, and what their strength is multiplied
# with: a photo shows little of it, under hair, and they act on it strongly.
_SKULL_TARGETS = (
    *("forehead/forehead-nubian", "forehead/forehead-scale-vert"),
    *("head/head-back", "head/head-scale-depth", "head/head-angle"),
    *("head/head-diamond", "head/head-round", "head/head-oval"),
    *("head/head-rectangular", "head/head-triangular", "head/head-square"),
    "head/head-invertedtriangular",
)
_SKULL_STRENGTH = 0.35
# Share of a detail's strength (of its variance) that left and right have in
# common; the rest is drawn for each side.
_SYMMETRIC_SHARE = 0.7

Array = NDArray[np.float64]


def sample_population(
    source: MakeHumanSource,
    control: ControlHead,
    num_samples: int,
    generator: np.random.Generator,
) -> Array:
    """Samples the control vertices of many heads.

    Each head mixes ancestries, the sexes, an age, muscle and weight by
    MakeHuman's own macro targets, and adds the detail targets of head,
    forehead, brows, eyes, nose, mouth, chin, cheeks, ears and neck.

    Args:
        source: MakeHuman's data.
        control: The control mesh.
        num_samples: Number of heads.
        generator: Source of randomness.

    Returns:
        `(num_samples, C, 3)` float64 vertices, mm, not aligned.
    """
    ethnic = {
        key: control.flat_vertices(
            source.target("macrodetails/{}-{}-{}".format(*key))
        )
        for key in itertools.product(_ANCESTRIES, _SEXES, _AGES)
    }
    build = {
        key: control.flat_vertices(
            source.target(
                "macrodetails/universal-{}-{}-{}muscle-{}weight".format(*key)
            )
        )
        for key in itertools.product(_SEXES, _AGES, _LEVELS, _LEVELS)
    }
    details = [
        name
        for folder in _DETAIL_FOLDERS
        for name in source.target_names(folder)
    ]
    detail_basis = np.stack(
        [control.flat_vertices(source.target(name)) for name in details]
    ).reshape(len(details), -1)
    base = control.flat_vertices(source.vertices)

    heads = np.empty((num_samples, *base.shape))
    for head in heads:
        ancestry = dict(
            zip(_ANCESTRIES, generator.dirichlet([0.5] * 3), strict=True)
        )
        male = generator.beta(0.6, 0.6)
        sex = {"female": 1 - male, "male": male}
        age = _age_weights(generator)
        muscle = _level_weights(generator.normal(0.5, 0.18))
        weight = _level_weights(generator.normal(0.5, 0.22))
        strengths = _detail_strengths(details, generator)
        head[:] = base + (strengths @ detail_basis).reshape(base.shape)
        for (a, s, g), target in ethnic.items():
            head += ancestry[a] * sex[s] * age[g] * target
        for (s, g, m, w), target in build.items():
            share = sex[s] * age[g] * muscle[m] * weight[w]
            if share > 0:
                head += share * target
    return control.rounded(heads)


def mean_macro_head(source: MakeHumanSource, control: ControlHead) -> Array:
    """The young adult in the middle of ancestries, sexes, muscle and weight.

    Args:
        source: MakeHuman's data.
        control: The control mesh.

    Returns:
        `(C, 3)` float64 vertices, mm, the patches over the eyes flat.
    """
    head = control.flat_vertices(source.vertices)
    for ancestry, sex in itertools.product(_ANCESTRIES, _SEXES):
        target = source.target(f"macrodetails/{ancestry}-{sex}-young")
        head += control.flat_vertices(target) / 6
    for sex in _SEXES:
        target = source.target(
            f"macrodetails/universal-{sex}-young-averagemuscle-averageweight"
        )
        head += control.flat_vertices(target) / 2
    return head


def expression_units(
    source: MakeHumanSource, control: ControlHead
) -> tuple[Array, tuple[str, ...]]:
    """Averages the expression units over the three ancestries.

    The units become mirror images of each other exactly: those of the left
    and the right side in pairs, the others of themselves.

    Args:
        source: MakeHuman's data.
        control: The control mesh.

    Returns:
        `(C, 3, E)` float64 displacements at full strength, mm, and `E` names.
    """
    rest = mean_macro_head(source, control)
    names = [
        name.rpartition("/")[2]
        for name in source.target_names(f"expression/units/{_ANCESTRIES[0]}")
    ]
    units: dict[str, Array] = {}
    for name in names:
        motion = np.mean(
            [
                control.flat_vertices(
                    source.target(f"expression/units/{ancestry}/{name}")
                )
                for ancestry in _ANCESTRIES
            ],
            axis=0,
        )
        units[name] = control.rounded(rest + motion) - control.rounded(rest)
    flip = np.array([-1.0, 1.0, 1.0])
    symmetric = [
        (units[name] + units[_other_side(name)][control.mirror] * flip) / 2
        for name in names
    ]
    return np.stack(symmetric, axis=-1), tuple(names)


def _other_side(name: str) -> str:
    """The name of the unit that mirrors another."""
    words = {"left": "right", "right": "left"}
    return "-".join(words.get(word, word) for word in name.split("-"))


def _age_weights(generator: np.random.Generator) -> dict[str, float]:
    if generator.random() < _CHILDREN:
        young = generator.random()
        return {"child": 1 - young, "young": young, "old": 0.0}
    old = generator.beta(0.8, 1.4)
    return {"child": 0.0, "young": 1 - old, "old": old}


def _level_weights(value: float) -> dict[str, float]:
    """Linear weights of minimum, average and maximum for a value in [0, 1]."""
    value = float(np.clip(value, 0.0, 1.0))
    return {
        "min": max(0.0, 1 - 2 * value),
        "average": 1 - abs(2 * value - 1),
        "max": max(0.0, 2 * value - 1),
    }


def _detail_strengths(
    names: list[str], generator: np.random.Generator
) -> Array:
    """A strength for each detail; both sides of a pair share most of it."""
    shared: dict[str, float] = {}
    strengths = np.empty(len(names))
    for index, name in enumerate(names):
        folder, _, target = name.partition("/")
        pair = f"{folder}/{target.removeprefix('l-').removeprefix('r-')}"
        if pair not in shared:
            shared[pair] = generator.standard_normal()
        value = shared[pair]
        if target.startswith(("l-", "r-")):
            value = value * np.sqrt(_SYMMETRIC_SHARE)
            value += generator.standard_normal() * np.sqrt(1 - _SYMMETRIC_SHARE)
        if name.startswith(_SKULL_TARGETS):
            value *= _SKULL_STRENGTH
        strengths[index] = value
    return np.clip(strengths * _DETAIL_DEVIATION, 0.0, 1.0)
