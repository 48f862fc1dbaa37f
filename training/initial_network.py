"""The network that a training begins with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.basel_face_model import load_basel_face_model
from training.config import TrainingConfig
from training.data.aflw_crops import parameter_deviations
from training.decoder_growth import pass_on_displacements, passes_on
from training.encoder_widening import is_widened, widen_encoder

# Beginnings of the names of layers that know nothing of the mesh.
_PHOTO_LAYERS = ("encoder_", "aggregation", "embedding")
# And of those after the last DenseGCN block.
_OUTPUT_LAYERS = ("output_", "displacements")


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

    A network of another mesh takes what sees the photo only: encoder,
    embedding and aggregation. One with more DenseGCN blocks takes all up to
    the finest block of the other, whose features stay the same; see
    `begin_displacements` for what comes after them. One whose
    encoder has more stages takes the encoder of the other, see
    `widen_encoder`. What is left begins anew.

    Raises:
        ValueError: If there are no such weights, or they are of another
            network.
    """
    initial = load_model(name_or_path)
    if is_widened(initial, model):
        widen_encoder(initial, model)
        return
    source, target = _weighted_layers(initial), _weighted_layers(model)
    grows = False
    if initial.fingerprint != model.fingerprint:
        source, target = (
            _beginning_with(_PHOTO_LAYERS, layers)
            for layers in (source, target)
        )
    elif _num_blocks(initial) < _num_blocks(model):
        grows = "aggregation" in source.keys() & target.keys()
        if grows:
            # Of other shapes, as the finer levels flow into its maps.
            fused, aggregation = (
                layers.pop("aggregation") for layers in (source, target)
            )
        for name in _beginning_with(_OUTPUT_LAYERS, source):
            del source[name]
        target = {name: target[name] for name in source.keys() & target.keys()}
    shapes, expected = (
        {name: _shapes(layer) for name, layer in layers.items()}
        for layers in (source, target)
    )
    if shapes != expected:
        raise ValueError(
            "Expected initial weights of the network that is trained "
            f"({model.count_params()} parameters). Received: initial_weights="
            f"{name_or_path!r} with {initial.count_params()}"
        )
    if grows:
        aggregation.assign_coarser(fused)
    for name, layer in source.items():
        target[name].set_weights(layer.get_weights())


def begin_displacements(
    model: FaceGCN,
    name_or_path: str,
    load_photos: Callable[[], NDArray[np.floating]],
) -> None:
    """Lets a network predict what the weights that it began with predict.

    Changes only networks with more DenseGCN blocks than those weights', see
    `pass_on_displacements`; others predict the same already, or begin anew.

    Args:
        model: Network that `set_initial_weights` gave the weights.
        name_or_path: The weights.
        load_photos: Returns `(n, S, S, 3)` float in [0, 1], some dozens of
            training crops; called if they are needed.
    """
    initial = load_model(name_or_path)
    if passes_on(initial, model):
        pass_on_displacements(initial, model, load_photos())


def _num_blocks(model: FaceGCN) -> int:
    return len(model.preset.decoder_growths)


def _weighted_layers(model: FaceGCN) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers if layer.weights}


def _beginning_with(
    beginnings: tuple[str, ...], layers: dict[str, keras.layers.Layer]
) -> dict[str, keras.layers.Layer]:
    return {
        name: layer
        for name, layer in layers.items()
        if name.startswith(beginnings)
    }


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]
