"""TrainingData: the examples of a training run, and their vertex model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import NUM_LANDMARKS, MorphableModel
from training.config import TrainingConfig
from training.data.aflw_crops import AflwCrops
from training.data.example_source import ExampleSource
from training.data.mixed_source import MixedSource
from training.data.photo_source import PhotoSource
from training.data.synthetic import SyntheticFaces
from training.data.synthetic_source import KeptFaces, SyntheticSource
from training.data.vertex_model import VertexModel
from training.kept_labels import labels_for

# Raised when the rendered faces change.
_SYNTHETIC_VERSION = "1"

# Side of the rendered faces over that of the network's input, to leave the
# augmentation some sharpness.
_SYNTHETIC_ENLARGEMENT = 1.25


class TrainingData(NamedTuple):
    """The examples of a training run.

    Attributes:
        training: Examples to train on.
        validation: Examples held out.
        validation_yaw: Their absolute yaw in degrees; `None` for rendered
            faces.
        vertex_model: From the examples' parameters to vertices.
        num_labels: Photos with a label; 0 without photos.
        num_rejected_labels: Photos dropped as badly labelled.
        fingerprint: Hex digest of photos, face model and methods.
    """

    training: ExampleSource
    validation: ExampleSource
    validation_yaw: NDArray[np.floating] | None
    vertex_model: VertexModel
    num_labels: int
    num_rejected_labels: int
    fingerprint: str


def load_training_data(
    config: TrainingConfig,
    labels_path: str | Path | None,
    face_model: MorphableModel,
    hierarchy: MeshHierarchy,
    input_size: int,
) -> TrainingData:
    """Reads the photos, fits or loads their labels, adds rendered faces.

    Args:
        config: The training's configuration.
        labels_path: Where fitted labels are kept; `None` keeps them nowhere.
        face_model: Morphable model of the labels.
        hierarchy: Its levels, to render faces with.
        input_size: Side of the network's input in pixels.

    Raises:
        FileNotFoundError: If there are no photos.
        ValueError: If a photo or label is unfit.
    """
    size = round(input_size * _SYNTHETIC_ENLARGEMENT)
    share = config.synthetic_share
    if share == 1:
        nothing = np.zeros((NUM_LANDMARKS, 3))
        model = VertexModel.of_labels(face_model, nothing, nothing[None][:0])
        faces = SyntheticFaces(model, face_model, hierarchy, size)
        return TrainingData(
            _rendered(faces, config),
            SyntheticSource(faces, config.num_validation),
            None,
            model,
            0,
            0,
            _synthetic_fingerprint(face_model),
        )
    crops = AflwCrops.load(config.data_dir)
    labels = labels_for(
        crops,
        face_model,
        labels_path,
        config.second_teacher,
        config.second_teacher_share,
    )
    photos, validation = PhotoSource.of_photos(crops, labels).split(
        config.num_validation, config.seed
    )
    model = VertexModel.of_labels(
        face_model, labels.displacement_mean, labels.displacement_components
    )
    training: ExampleSource = photos
    if share > 0:
        faces = SyntheticFaces(model, face_model, hierarchy, size)
        training = MixedSource(photos, _rendered(faces, config), share)
    return TrainingData(
        training,
        validation,
        validation.yaw,
        model,
        len(labels),
        labels.num_rejected,
        labels.fingerprint,
    )


def _rendered(faces: SyntheticFaces, config: TrainingConfig) -> ExampleSource:
    source = SyntheticSource(faces, config.num_synthetic)
    return KeptFaces(source) if config.keep_synthetic else source


def _synthetic_fingerprint(model: MorphableModel) -> str:
    digest = hashlib.sha256(f"synthetic {_SYNTHETIC_VERSION}".encode())
    for array in (model.mean, model.shape_basis, model.expression_basis):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(np.ascontiguousarray(model.landmarks).tobytes())
    return digest.hexdigest()
