"""Export of a FaceGCN as a SavedModel that TensorFlow Serving can load."""

from __future__ import annotations

import json
import os
import re
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from serving.photo_graph import (
    Crop,
    checked_box,
    crop_photo,
    decode_photo,
    square,
    to_photo,
    upright_crop,
    whole_photo,
)
from serving.warmup import write_warmup_requests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tf_facegcn.models.face_gcn import FaceGCN

# A decoded photo of this size takes 150 MB of the server's memory.
MAX_PIXELS = 50_000_000
TOPOLOGY_FILE = "topology.npz"
MODEL_CARD_FILE = "model_card.md"
DESCRIPTION_FILE = "export.json"


def export(
    model: FaceGCN,
    output: Path,
    version: int | None = None,
    model_card: str = "",
    num_refinements: int = 1,
) -> Path:
    """Writes a version folder, which appears whole or not at all.

    Args:
        model: The network.
        output: The model's folder (`--model_base_path` of a server).
        version: Its version, a positive number; `None` for one more than the
            newest that is there.
        model_card: Text of `assets/model_card.md`.
        num_refinements: How often the signatures that take whole photos crop
            again around the landmarks found, as `Predictor` does.

    Returns:
        The folder `output/version`, with the signatures that `docs/serving.md`
        describes.

    Raises:
        ValueError: If there is such a version already.
        OSError: If it cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    version = next_version(output) if version is None else version
    folder = output / str(version)
    if version < 1:
        raise ValueError(f"Expected a version of at least 1, got {version}")
    if folder.exists():
        raise ValueError(
            f"{folder}: this version exists already, and servers expect that "
            f"a version does not change. Export version {next_version(output)}"
        )
    # Not `keras.export.ExportArchive`, which stores all weights twice.
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    signatures = {
        name: tf.function(function, input_signature=signature)
        for name, (function, signature) in _endpoints(
            model, num_refinements
        ).items()
    }
    # No number, so no server takes it for a version.
    with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as name:
        unfinished = Path(name) / "model"
        tf.saved_model.save(module, str(unfinished), signatures)
        _write_assets(unfinished / "assets", model, model_card)
        write_warmup_requests(unfinished, output.name, model.input_size)
        # Of a temporary folder only its owner may read.
        unfinished.chmod(0o755)
        os.rename(unfinished, folder)  # noqa: PTH104
    return folder


def next_version(output: Path) -> int:
    """Returns one more than the newest version in a model's folder."""
    names = [path.name for path in output.glob("*") if path.is_dir()]
    versions = [int(name) for name in names if re.fullmatch(r"\d+", name)]
    return max(versions, default=0) + 1


def difference(
    model: FaceGCN, variant: keras.Model, photos: NDArray[np.uint8]
) -> dict[str, float]:
    """Measures how far a variant's vertices are from a model's.

    Args:
        model: The original.
        variant: Fused, or of another precision.
        photos: `(batch, size, size, 3)` uint8 crops of faces.

    Returns:
        `mean` and `largest` distance of vertices, in 1/256ths of the crop.
    """
    vertices = [
        np.asarray(each.predict_on_batch(photos), np.float64)
        for each in (model, variant)
    ]
    distances = np.linalg.norm(vertices[0] - vertices[1], axis=-1)
    return {"mean": float(distances.mean()), "largest": float(distances.max())}


def _endpoints(model: FaceGCN, num_refinements: int) -> dict[str, Any]:
    size = model.input_size
    shape = (None, size, size, 3)
    floats = tf.TensorSpec(shape, tf.float32, "photos")

    # One function that all signatures call, so that the tables of the mesh
    # are stored once.
    network = tf.function(
        lambda photos: model(photos, training=False), input_signature=[floats]
    )
    landmarks_model = model.at_vertices(model.landmarks)
    template = np.asarray(model.template)[model.landmarks]

    def from_crops(photos: tf.Tensor) -> dict[str, tf.Tensor]:
        # A tensor of another rank would end the server inside a kernel.
        photos = tf.ensure_shape(photos, shape)
        vertices = network(_unit_floats(photos))
        landmarks = tf.gather(vertices, model.landmarks, axis=1)
        return {"vertices": vertices, "landmarks": landmarks}

    def landmarks_only(photos: tf.Tensor) -> dict[str, tf.Tensor]:
        photos = tf.ensure_shape(photos, shape)
        photos = _unit_floats(photos)
        return {"landmarks": landmarks_model(photos, training=False)}

    def from_files(photos: tf.Tensor) -> dict[str, tf.Tensor]:
        photos = tf.ensure_shape(photos, (None,))
        return from_photos(photos, None)

    def from_files_in_boxes(
        photos: tf.Tensor, boxes: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        photos = tf.ensure_shape(photos, (None,))
        boxes = tf.ensure_shape(boxes, (None, 4))
        tf.debugging.assert_equal(
            tf.shape(photos)[0],
            tf.shape(boxes)[0],
            "Expected as many boxes as photos",
        )
        return from_photos(photos, boxes)

    def from_photos(
        photos: tf.Tensor, boxes: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        def one(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            photo = decode_photo(photos[number], MAX_PIXELS)
            box = (
                whole_photo(photo)
                if boxes is None
                else checked_box(boxes[number], photo)
            )
            crop = Crop.of_box(square(box))
            vertices = predict(photo, crop)
            for _ in range(num_refinements):
                points = tf.gather(vertices, model.landmarks)
                crop = upright_crop(points, template)
                vertices = predict(photo, crop)
            return tf.cast(vertices, tf.float32), crop.box, crop.roll

        def predict(photo: tf.Tensor, crop: Crop) -> tf.Tensor:
            pixels = crop_photo(photo, crop, size)[tf.newaxis]
            return to_photo(network(_unit_floats(pixels))[0], crop)

        # One photo after the other: memory for one decoded photo is enough.
        vertices, crops, rolls = tf.map_fn(
            one,
            tf.range(tf.shape(photos)[0]),
            fn_output_signature=(
                tf.TensorSpec((len(model.template), 3), tf.float32),
                tf.TensorSpec((4,), tf.float64),
                tf.TensorSpec((), tf.float64),
            ),
            parallel_iterations=1,
        )
        return {
            "vertices": vertices,
            "landmarks": tf.gather(vertices, model.landmarks, axis=1),
            "crops": tf.cast(crops, tf.float32),
            "rolls": tf.cast(rolls, tf.float32),
        }

    pixels = tf.TensorSpec(shape, tf.uint8, "photos")
    files = tf.TensorSpec((None,), tf.string, "photos")
    boxes = tf.TensorSpec((None, 4), tf.float32, "boxes")
    return {
        "serving_default": (from_crops, [pixels]),
        "float": (from_crops, [floats]),
        "landmarks": (landmarks_only, [pixels]),
        "encoded": (from_files, [files]),
        "encoded_boxes": (from_files_in_boxes, [files, boxes]),
    }


def _unit_floats(photos: tf.Tensor) -> tf.Tensor:
    """Maps 0 to 255 to 0 to 1, rounded as NumPy does.

    TensorFlow would multiply by the rounded reciprocal of 255, which changes
    the mesh by 1e-5 and a second crop by a level.
    """
    if photos.dtype != tf.uint8:
        return photos
    levels = np.divide(np.arange(256), 255, dtype=np.float32)
    return tf.gather(tf.constant(levels), tf.cast(photos, tf.int32))


def _write_assets(folder: Path, model: FaceGCN, model_card: str) -> None:
    folder.mkdir(exist_ok=True)
    np.savez_compressed(
        folder / TOPOLOGY_FILE,
        faces=np.asarray(model.faces, np.int32),
        landmarks=np.asarray(model.landmarks, np.int32),
        template=np.asarray(model.template, np.float32),
        fingerprint=model.fingerprint,
    )
    (folder / MODEL_CARD_FILE).write_text(model_card, encoding="utf-8")
    description = {
        "tf_facegcn": metadata.version("tf_facegcn"),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "input_size": model.input_size,
        "num_vertices": len(model.template),
        "fingerprint": model.fingerprint,
        "precision": model.dtype_policy.name,
        "fused": model.fused,
    }
    text = json.dumps(description, indent=2)
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")
