"""FaceGCN: from a photo of a face to its mesh."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
from scipy import sparse

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.models.face_gcn_graph import (
    CAMERA,
    DISPLACEMENTS,
    FaceGCNGraph,
    displace,
)
from tf_facegcn.models.face_gcn_presets import PRESETS, FaceGCNPreset
from tf_facegcn.models.frontal_template import frontal_template
from tf_facegcn.models.hierarchy_encoding import (
    decode_hierarchy,
    encode_hierarchy,
)
from tf_facegcn.models.photo_model import PhotoModel

# The mesh hierarchy of the bundled head.
HIERARCHY_FILE = Path(__file__).parents[1] / "assets" / "hierarchy.npz"


@keras.saving.register_keras_serializable(package="tf_facegcn")
class FaceGCN(PhotoModel):
    """Regresses a dense face mesh from a crop of a photo (paper, Fig. 3).

    A residual encoder halves the photo down to the coarsest map, of which
    dense layers make an embedding. An aggregation block fuses the maps of all
    resolutions. From the embedding, DenseGCN blocks and mesh up-samplings
    grow vertex features level by level, each block fed with the aggregated
    map of as many pixels as the level has vertices, both in raster order.
    Graph convolutions turn the features into displacements of a frontal
    template, which is what the network predicts before training.

    Args:
        hierarchy: `MeshHierarchy`; its coarsest levels have as many vertices
            as the encoder's maps have pixels.
        landmarks: `(68,)` integers, vertices of the finest level.
        lowering: Lowering of all mesh operators, see `MeshOperator`.
        fused: Boolean, whether adjacent linear maps are one, for inference;
            `fuse()` makes such a model of a trained one.
        dtype: Dtype policy of the layers; the output is always float32.
        name: Name of the model.
        trainable: Boolean, whether the weights are trainable.
        **fields: Fields of `FaceGCNPreset`.

    Input shape:
        `(batch, input_size, input_size, 3)` RGB, uint8 or float in [0, 1].

    Output shape:
        `(batch, V, 3)` float32 in 1/256ths of the crop: x right, y down, the
        centre of the top-left of 256 x 256 pixels at (0, 0); z towards the
        viewer.

    Example:
        ```python
        model = FaceGCN.from_preset("lite")
        vertices = model.predict(photos)  # (batch, 53215, 3)
        landmarks = vertices[:, model.landmarks]
        ```
    """

    def __init__(
        self,
        hierarchy,
        landmarks,
        lowering="auto",
        fused=False,
        dtype=None,
        name="face_gcn",
        trainable=True,
        **fields,
    ):
        # === Layers ===
        preset = FaceGCNPreset.of_fields(fields)
        if preset.laplacian is not None:
            hierarchy = hierarchy.with_laplacian(preset.laplacian)
        if preset.vertex_order is not None:
            hierarchy = hierarchy.with_vertex_order(preset.vertex_order)
        _check_levels(hierarchy, preset)
        landmarks = _check_landmarks(landmarks, hierarchy)
        template = frontal_template(
            hierarchy.levels[0].mesh.vertices, landmarks
        )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        graph = FaceGCNGraph(hierarchy, preset, lowering, policy, fused)

        # === Functional Model ===
        photos = keras.Input(
            (preset.input_size, preset.input_size, 3),
            dtype="float32",
            name="photos",
        )
        maps = graph.encoder(photos)
        embedding = graph.embedding(maps[-1])
        maps = graph.aggregation(maps)
        features = graph.decoder(embedding, maps)
        displacements = graph.displacements(features, embedding)
        vertices = graph.vertices(
            template, displacements, graph.camera(embedding)
        )
        super().__init__(
            inputs=photos, outputs=vertices, name=name, trainable=trainable
        )

        # === Config ===
        self.dtype_policy = policy
        self.preset = preset
        self.hierarchy = hierarchy
        self.lowering = lowering
        self.fused = fused
        self.input_size = preset.input_size
        self.fingerprint = hierarchy.fingerprint
        self.faces = hierarchy.levels[0].mesh.faces
        self.landmarks = landmarks
        self.template = template

    @classmethod
    def from_preset(cls, preset, hierarchy=None, landmarks=None, **kwargs):
        """Makes an untrained network.

        Args:
            preset: String, a name of `PRESETS`.
            hierarchy: `MeshHierarchy`, or `None` for the bundled head's.
            landmarks: `(68,)` integers, vertex indices of the hierarchy's
                finest level; `None` with the bundled head.
            **kwargs: Arguments of `FaceGCN`, which take precedence over the
                preset's fields.

        Returns:
            A `FaceGCN`.

        Raises:
            ValueError: If there is no such preset, or a hierarchy comes
                without landmarks.
        """
        if preset not in PRESETS:
            raise ValueError(
                f"preset must be one of {sorted(PRESETS)}. Received: "
                f"preset={preset!r}"
            )
        if hierarchy is None:
            hierarchy = MeshHierarchy.load(HIERARCHY_FILE)
            if landmarks is None:
                landmarks = MorphableModel.bundled().landmarks
        elif landmarks is None:
            raise ValueError(
                "landmarks, the vertex indices of the 68 landmarks, must come "
                "with a hierarchy. Received: landmarks=None"
            )
        return cls(
            hierarchy,
            landmarks,
            **{**dataclasses.asdict(PRESETS[preset]), **kwargs},
        )

    @functools.cached_property
    def encoder(self):
        """The encoder alone, with this model's weights.

        A Keras model of photos that returns the maps of all stages, finest
        first; the last one is the paper's 4 x 4 x 128.
        """
        maps = [
            self.get_layer(f"encoder_{stage}_{depth - 1}").output
            for stage, depth in enumerate(self.preset.encoder_depths)
        ]
        return PhotoModel(inputs=self.input, outputs=maps, name="encoder")

    def at_vertices(self, indices):
        """Makes a model of the same weights that predicts some vertices only.

        Training it trains this model. As the coordinates of all vertices are
        interpolated, few of them say almost as much as all, at a fraction of
        the memory traffic.

        Args:
            indices: `(n,)` integers, vertices of the finest level.

        Returns:
            A Keras model with the same input and output `(batch, n, 3)`, equal
            to this model's output at these vertices.
        """
        indices = np.asarray(indices)
        rows = sparse.identity(len(self.template), format="csr")[indices]
        for level in range(1, self.preset.output_level + 1):
            rows = rows @ self.hierarchy.levels[level].upsampling
        operator = MeshOperator(sparse.csr_array(rows), self.lowering)
        camera = None
        if self.preset.template_transform:
            camera = self.get_layer(CAMERA).output
        vertices = displace(
            self.template[indices],
            self.get_layer(DISPLACEMENTS).output,
            camera,
            operator,
        )
        return PhotoModel(inputs=self.input, outputs=vertices)

    def fuse(self):
        """Makes a model for inference that does the same in fewer operations.

        Batch normalisation becomes a part of the convolution before it;
        up-samplings become one with each other, and with a graph convolution
        after them, which mixes channels on the coarser level first. The
        predictions differ by rounding only.

        Returns:
            A `FaceGCN` with weights of its own, to predict, save and export;
            this model itself if it is fused.
        """
        if self.fused:
            return self
        fused = self._with(fused=True, trainable=False)
        for layer in fused.layers:
            source = self.get_layer(layer.name) if layer.weights else layer
            if hasattr(layer, "assign_folded"):
                layer.assign_folded(source)
            else:
                layer.set_weights(source.get_weights())
        return fused

    def with_lowering(self, lowering):
        """Makes the same model on another lowering of its mesh operators.

        Args:
            lowering: See `MeshOperator`; `"gather"` is for conversions.

        Returns:
            A `FaceGCN` with a copy of the weights.
        """
        model = self._with(lowering=lowering)
        model.set_weights(self.get_weights())
        return model

    def _with(self, **changes):
        return type(self).from_config({**self.get_config(), **changes})

    def get_config(self):
        return {
            "hierarchy": encode_hierarchy(self.hierarchy),
            "landmarks": self.landmarks.tolist(),
            "lowering": self.lowering,
            "fused": self.fused,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "trainable": self.trainable,
            **dataclasses.asdict(self.preset),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config["hierarchy"], str):
            config["hierarchy"] = decode_hierarchy(config["hierarchy"])
        return cls(**config)

    def save_own_variables(self, store):
        """Saves the topology's fingerprint beside the weights."""
        store["fingerprint"] = np.frombuffer(
            self.fingerprint.encode("ascii"), dtype="uint8"
        )

    def load_own_variables(self, store):
        """Refuses the weights of another topology."""
        saved = None
        if "fingerprint" in store.keys():  # noqa: SIM118 - not a mapping
            saved = bytes(np.array(store["fingerprint"])).decode("ascii")
        if saved != self.fingerprint:
            raise ValueError(
                "The weights belong to another mesh topology than this model; "
                "make the model with the mesh hierarchy that they were trained "
                f"on (fingerprint {saved}). Received: a model of fingerprint "
                f"{self.fingerprint}"
            )


def _check_levels(hierarchy, preset):
    sizes = hierarchy.sizes[::-1][: len(preset.encoder_widths)]
    sides = [
        preset.input_size // 2**stage
        for stage in range(len(preset.encoder_widths), 0, -1)
    ]
    if list(sizes) != [side * side for side in sides]:
        raise ValueError(
            "hierarchy must have as many vertices on its coarsest levels as "
            f"the encoder's maps have pixels, {[s * s for s in sides]}. "
            f"Received: hierarchy.sizes={hierarchy.sizes}"
        )


def _check_landmarks(landmarks, hierarchy):
    landmarks = np.array(landmarks, dtype="int32")
    if landmarks.ndim != 1 or not (
        landmarks.min(initial=0) >= 0
        and landmarks.max(initial=-1) < hierarchy.sizes[0]
        and len(landmarks)
    ):
        raise ValueError(
            "landmarks must be vertex indices of the finest level, of "
            f"{hierarchy.sizes[0]} vertices. Received: landmarks={landmarks}"
        )
    return landmarks
