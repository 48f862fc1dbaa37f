"""FaceGCNGraph: the parts that a FaceGCN is put together of."""

import keras

from tf_facegcn.layers.aggregation_block import AggregationBlock
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.layers.mesh_upsampling import MeshUpsampling
from tf_facegcn.layers.residual_block import ResidualBlock
from tf_facegcn.layers.template_mesh import TemplateMesh
from tf_facegcn.layers.vertex_embedding import VertexEmbedding
from tf_facegcn.models.frontal_template import CROP_CENTER, CROP_UNITS

# Intensities of [0, 1] become [-2, 2], about unit deviation on photos.
_INTENSITY_GAIN, _INTENSITY_OFFSET = 4.0, -2.0
# Crop units that an output of 1 moves a vertex; puts the last layers' inputs
# and outputs on one scale. Not given in the paper.
_DISPLACEMENT_GAIN = 20.0
# Not given in the paper.
_LEAKY_SLOPE = 0.1
# The layer whose output are the displacements on the output level.
DISPLACEMENTS = "scaled_displacements"
CAMERA = "camera"


class FaceGCNGraph:
    """Makes the parts of the network, one method for each (paper, Fig. 3).

    Levels are numbered as in the hierarchy, 0 is the finest.

    Args:
        hierarchy: `MeshHierarchy`.
        preset: `FaceGCNPreset`.
        lowering: Lowering of the mesh operators.
        policy: Dtype policy of the layers.
    """

    def __init__(self, hierarchy, preset, lowering, policy):
        self.hierarchy = hierarchy
        self.preset = preset
        self.lowering = lowering
        self.policy = policy
        self._operators = {}

    def encoder(self, photos):
        """The maps of all stages, finest first."""
        x = keras.layers.Rescaling(
            _INTENSITY_GAIN,
            _INTENSITY_OFFSET,
            dtype=self.policy,
            name="intensities",
        )(photos)
        maps = []
        for stage, (width, depth) in enumerate(
            zip(
                self.preset.encoder_widths,
                self.preset.encoder_depths,
                strict=True,
            )
        ):
            for block in range(depth):
                x = ResidualBlock(
                    width,
                    strides=2 if block == 0 else 1,
                    dtype=self.policy,
                    name=f"encoder_{stage}_{block}",
                )(x)
            maps.append(x)
        return maps

    def embedding(self, coarsest_map):
        """The vector that the coarsest map becomes."""
        x = keras.layers.Flatten(dtype=self.policy)(coarsest_map)
        x = keras.layers.Dense(
            self.preset.embedding_size, dtype=self.policy, name="embedding"
        )(x)
        return keras.layers.LeakyReLU(_LEAKY_SLOPE, dtype=self.policy)(x)

    def aggregation(self, maps):
        """The fused maps, finest first."""
        return AggregationBlock(
            self.preset.aggregation_widths,
            self.preset.aggregation_rounds,
            num_convolutions=self.preset.aggregation_convolutions,
            upsampling=self.preset.aggregation_upsampling,
            downsampling=self.preset.aggregation_downsampling,
            dtype=self.policy,
            name="aggregation",
        )(maps)

    def decoder(self, embedding, maps):
        """Vertex features of the last DenseGCN block's level."""
        preset = self.preset
        level = len(self.hierarchy.levels) - 1
        shape = (self.hierarchy.sizes[level], preset.vertex_width)
        x = keras.layers.Dense(
            shape[0] * shape[1], dtype=self.policy, name="coarsest_vertices"
        )(embedding)
        x = keras.layers.Reshape(shape, dtype=self.policy)(x)
        for growth, feature_map in zip(
            preset.decoder_growths, reversed(maps), strict=True
        ):
            size = self.hierarchy.sizes[level]
            if preset.vertex_embedding:
                x = VertexEmbedding(
                    dtype=self.policy, name=f"vertex_embedding_{size}"
                )(x)
            # Raster order on both sides: pixels are vertices' neighbours.
            pixels = keras.layers.Reshape(
                (size, feature_map.shape[-1]), dtype=self.policy
            )(feature_map)
            x = DenseGCNBlock(
                growth,
                self.laplacian(level),
                num_convolutions=preset.decoder_convolutions,
                order=preset.order,
                dtype=self.policy,
                name=f"dense_gcn_{size}",
            )([x, pixels])
            if level > self._last_level:
                x = self.upsample(x, level, self.policy)
                level -= 1
        return x

    def displacements(self, features, embedding):
        """Displacements of the finest level's vertices, crop units."""
        preset = self.preset
        x, level = features, self._last_level
        while level > preset.output_level + 1:
            x = self.upsample(x, level, self.policy)
            level -= 1
        for index, filters in enumerate(preset.output_filters):
            x = self.output_convolution(
                x, level, filters, self.policy, f"output_{index}"
            )
            x = keras.layers.LeakyReLU(_LEAKY_SLOPE, dtype=self.policy)(x)
            level = preset.output_level
        x = self.output_convolution(x, level, 3, "float32", "displacements")
        level = preset.output_level
        if preset.displacement_level is not None:
            coarse = self.coarse_displacements(embedding)
            for finer in range(preset.displacement_level, level, -1):
                coarse = self.upsample(coarse, finer, "float32")
            x = keras.layers.Add(dtype="float32")([x, coarse])
        x = keras.layers.Rescaling(
            _DISPLACEMENT_GAIN, dtype="float32", name=DISPLACEMENTS
        )(x)
        for coarser in range(level, 0, -1):
            x = self.upsample(x, coarser, "float32")
        return x

    def output_convolution(self, x, level, filters, policy, name):
        """A graph convolution on the output level, up-sampling if needed."""
        if level > self.preset.output_level:
            x = self.upsample(x, level, policy)
        return ChebConv(
            filters,
            self.laplacian(self.preset.output_level),
            order=self.preset.order,
            # Training starts at the template.
            kernel_initializer="zeros" if filters == 3 else "glorot_uniform",
            dtype=policy,
            name=name,
        )(x)

    def coarse_displacements(self, embedding):
        """Displacements of a coarse level, linear in the embedding."""
        size = self.hierarchy.sizes[self.preset.displacement_level]
        x = keras.layers.Dense(
            3 * size,
            kernel_initializer="zeros",
            dtype="float32",
            name="coarse_displacements",
        )(embedding)
        return keras.layers.Reshape((size, 3), dtype="float32")(x)

    def camera(self, embedding):
        """The change of the template's camera, `None` without one."""
        if not self.preset.template_transform:
            return None
        return keras.layers.Dense(
            12, kernel_initializer="zeros", dtype="float32", name=CAMERA
        )(embedding)

    def upsample(self, x, level, policy):
        """Features of `level` on the next finer level."""
        operator = self._operator(level, "upsampling")
        return MeshUpsampling(operator, dtype=policy)(x)

    def laplacian(self, level):
        """The operator of a level's rescaled Laplacian."""
        return self._operator(level, "laplacian")

    @property
    def _last_level(self):
        """The level of the last DenseGCN block."""
        return len(self.hierarchy.levels) - len(self.preset.decoder_growths)

    def _operator(self, level, kind):
        if (level, kind) not in self._operators:
            matrix = getattr(self.hierarchy.levels[level], kind)
            self._operators[level, kind] = MeshOperator(matrix, self.lowering)
        return self._operators[level, kind]


def displace(template, displacements, camera):
    """The template under a camera, displaced."""
    inputs = displacements if camera is None else [displacements, camera]
    return TemplateMesh(
        template,
        center=(CROP_CENTER, CROP_CENTER, 0.0),
        radius=CROP_UNITS / 2,
        dtype="float32",
        name="vertices",
    )(inputs)
