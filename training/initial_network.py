"""The network that a training begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.layers.residual_block import ResidualBlock
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.face_gcn_graph import COARSE_DISPLACEMENTS
from tf_facegcn.models.released_weights import load_model
from training.basel_face_model import load_basel_face_model
from training.config import TrainingConfig
from training.data.aflw_crops import parameter_deviations

Array = NDArray[np.float32]

# Beginnings of the names of layers that know nothing of the mesh.
_PHOTO_LAYERS = ("encoder_", "aggregation", "embedding")


def face_model_of(config: TrainingConfig) -> MorphableModel:
    """Loads the morphable model that labels are fitted with.

    Raises:
        FileNotFoundError: If there is no such file, or no photos.
        ValueError: If the file is no face model.
    """
    if not config.face_model:
        return MorphableModel.bundled()
    deviations = parameter_deviations(config.data_dir)
    return load_basel_face_model(config.face_model, *deviations)


def make_network(config: TrainingConfig, face_model: MorphableModel) -> FaceGCN:
    """Makes the configuration's preset on the mesh of a face model."""
    mesh: dict[str, Any] = {}
    if config.face_model:
        mesh["hierarchy"] = MeshHierarchy.build(face_model.template)
        mesh["landmarks"] = face_model.landmarks
    return FaceGCN.from_preset(config.preset, dtype=config.precision, **mesh)


def set_initial_weights(model: FaceGCN, name_or_path: str) -> None:
    """Gives a network the weights of another one of the same kind.

    The network may be larger in two ways. Further residual blocks of its
    encoder begin as the identity, apart from their leaky ReLU: the last
    normalisation of each scales by 0 (Goyal et al., 2017, Sec. 5.1). Linear
    displacements of a finer mesh level begin as the coarser level's,
    up-sampled.

    A network of another mesh takes what sees the photo only: encoder,
    embedding and aggregation. What belongs to vertices begins anew.

    Raises:
        ValueError: If there are no such weights, or they are of another
            network.
    """
    initial = load_model(name_or_path)
    weights = {
        layer.name: layer.get_weights()
        for layer in initial.layers
        if layer.weights
    }
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if initial.fingerprint != model.fingerprint:
        weights, layers = _of_the_photo(weights), _of_the_photo(layers)
    if COARSE_DISPLACEMENTS in weights:
        weights[COARSE_DISPLACEMENTS] = _on_finer_level(
            weights[COARSE_DISPLACEMENTS], initial, model
        )
    added = [layer for name, layer in layers.items() if name not in weights]
    fits = all(
        name in layers and _shapes(layers[name].weights) == _shapes(values)
        for name, values in weights.items()
    )
    if not fits or not all(map(_keeps_shape, added)):
        raise ValueError(
            "Expected initial weights of the network that is trained "
            f"({model.count_params()} parameters), or of one with fewer "
            f"blocks in its encoder. Received: initial_weights="
            f"{name_or_path!r} with {initial.count_params()}"
        )
    for name, values in weights.items():
        layers[name].set_weights(values)
    for layer in added:
        gamma = layer.normalizations[-1].gamma
        gamma.assign(ops.zeros_like(gamma))


def _on_finer_level(
    weights: list[Array], initial: FaceGCN, model: FaceGCN
) -> list[Array]:
    """Kernel and bias whose outputs are up-sampled as the mesh is."""
    coarse = initial.preset.displacement_level
    fine = model.preset.displacement_level
    if fine is None:
        return weights
    for level in range(coarse, fine, -1):
        upsampling = model.hierarchy.levels[level].upsampling
        weights = [
            # The outputs are the vertices' three coordinates.
            np.einsum(
                "fc,...cd->...fd",
                upsampling.toarray(),
                values.reshape(*values.shape[:-1], -1, 3),
                optimize=True,
            ).reshape(*values.shape[:-1], -1)
            for values in weights
        ]
    return weights


def _of_the_photo(named: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in named.items()
        if name.startswith(_PHOTO_LAYERS)
    }


def _shapes(weights: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in weights]


def _keeps_shape(layer: keras.layers.Layer) -> bool:
    """Whether a layer can begin as the identity."""
    return isinstance(layer, ResidualBlock) and layer.shortcut is None
