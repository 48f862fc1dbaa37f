"""The work of `facegcn export`: released weights to a version folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.export import difference, export
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import FaceCrop
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import find_weights, load_model

_PHOTO = Path(__file__).parents[1] / "tf_facegcn" / "assets" / "astronaut.jpg"
# The square around the landmarks of that photo's face, and how it is moved to
# make several crops, in shares of its side.
_FACE = BoundingBox(156, 54, 300, 198)
_SHIFTS = (-0.06, 0.0, 0.06)
_PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def export_weights(
    weights: str,
    output: Path,
    version: int | None = None,
    *,
    fused: bool = False,
    precision: str = "float32",
    lowering: str = "auto",
) -> tuple[Path, list[str]]:
    """Exports weights, and measures what a variant changes.

    Args:
        weights: Name of released weights or path of a `.keras` file.
        output: The model's folder.
        version: Its version; `None` for one more than the newest.
        fused: Whether adjacent linear maps become one.
        precision: `"float32"` or `"bfloat16"`.
        lowering: Of the mesh operators, see `MeshOperator`.

    Returns:
        The version folder, and lines that say how far the vertices of a
        variant are from the original's.

    Raises:
        ValueError: If there are no such weights, or there is such a version.
    """
    model = load_model(weights)
    variant = _variant(model, _PRECISIONS[precision], lowering)
    if fused:
        variant = variant.fuse()
    card = _model_card(weights)
    lines = []
    if variant is not model:
        found = difference(model, variant, face_crops(model.input_size))
        lines = [
            f"Vertices differ from those of the weights by {found['mean']:.2g} "
            f"of the crop's 256 units in the mean, {found['largest']:.2g} at "
            f"most ({len(_SHIFTS) ** 2} crops of one photo)"
        ]
        card = "\n".join([*lines, "", card])
    return export(variant, output, version, card), lines


def face_crops(size: int) -> NDArray[np.uint8]:
    """Cuts crops around the face of the bundled photo.

    Args:
        size: Side of the crops in pixels.

    Returns:
        `(9, size, size, 3)` uint8.
    """
    photo = read_photo(_PHOTO)
    side = _FACE.width
    return np.stack(
        [
            FaceCrop(_FACE.square(1.0, (x * side, y * side)), size).crop(photo)
            for x in _SHIFTS
            for y in _SHIFTS
        ]
    )


def _variant(model: FaceGCN, dtype: str, lowering: str) -> FaceGCN:
    config = model.get_config()
    if dtype == model.dtype_policy.name and lowering == config["lowering"]:
        return model
    variant = FaceGCN.from_config(
        {**config, "dtype": dtype, "lowering": lowering}
    )
    variant.set_weights(model.get_weights())
    return variant


def _model_card(weights: str) -> str:
    path = find_weights(weights)
    card = path.with_suffix(".md")
    if not card.is_file():
        return f"Exported from {path.name}, which came without a model card.\n"
    return card.read_text(encoding="utf-8")
