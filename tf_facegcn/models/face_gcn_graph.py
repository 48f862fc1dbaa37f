"""FaceGCNGraph: the parts that a FaceGCN is put together of."""

import functools
import itertools
import operator

import keras
from scipy import sparse

from tf_facegcn.layers.aggregation_block import AggregationBlock
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.leaky_slope import LEAKY_SLOPE
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
        fused: Boolean, whether adjacent linear maps are one, for inference:
            no batch normalisation, and up-samplings are joined with each
            other and with a convolution after them.
    """

    def __init__(self, hierarchy, preset, lowering, policy, fused=False):
        self.hierarchy = hierarchy
        self.preset = preset
        self.lowering = lowering
        self.policy = policy
        self.fused = fused
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
                    normalize=not self.fused,
                    dtype=self.policy,
                    name=f"encoder_{stage}_{block}",
                )(x)
            maps.append(x)
        return maps

    def embedding(self, coarsest_map):
        """The vector that the coarsest map becomes."""
        x = keras.layers.Flatten(dtype=self.policy)(coarsest_map)
        for index, size in enumerate(self.preset.embedding_hidden):
            x = keras.layers.Dense(
                size, dtype=self.policy, name=f"embedding_hidden_{index}"
            )(x)
            x = keras.layers.LeakyReLU(LEAKY_SLOPE, dtype=self.policy)(x)
        x = keras.layers.Dense(
            self.preset.embedding_size, dtype=self.policy, name="embedding"
        )(x)
        return keras.layers.LeakyReLU(LEAKY_SLOPE, dtype=self.policy)(x)

    def aggregation(self, maps):
        """The fused maps, finest first; none without skip connections."""
        if not self.preset.skip_connections:
            return []
        return AggregationBlock(
            self.preset.aggregation_widths,
            self.preset.aggregation_rounds,
            num_convolutions=self.preset.aggregation_convolutions,
            upsampling=self.preset.aggregation_upsampling,
            downsampling=self.preset.aggregation_downsampling,
            normalize=not self.fused,
            dtype=self.policy,
            name="aggregation",
        )(maps[-len(self.preset.decoder_growths) :])

    def decoder(self, embedding, maps):
        """Vertex features of the last DenseGCN block's level."""
        preset = self.preset
        level = len(self.hierarchy.levels) - 1
        shape = (self.hierarchy.sizes[level], preset.vertex_width)
        x = keras.layers.Dense(
            shape[0] * shape[1], dtype=self.policy, name="coarsest_vertices"
        )(embedding)
        x = keras.layers.Reshape(shape, dtype=self.policy)(x)
        for index, growth in enumerate(preset.decoder_growths):
            size = self.hierarchy.sizes[level]
            if preset.vertex_embedding:
                x = VertexEmbedding(
                    dtype=self.policy, name=f"vertex_embedding_{size}"
                )(x)
            sources = [x]
            if maps:
                # In raster order, pixels are neighbours where vertices are.
                feature_map = maps[-1 - index]
                pixels = keras.layers.Reshape(
                    (size, feature_map.shape[-1]), dtype=self.policy
                )(feature_map)
                sources.append(pixels)
            x = DenseGCNBlock(
                growth,
                self.laplacian(level),
                num_convolutions=preset.decoder_convolutions,
                order=preset.order,
                normalize=not self.fused,
                dtype=self.policy,
                name=f"dense_gcn_{size}",
            )(sources)
            if level > self._last_level:
                x = self.upsample(x, level, level - 1, self.policy)
                level -= 1
        return x

    def displacements(self, features, embedding):
        """Displacements of the output level's vertices, crop units."""
        preset = self.preset
        x, level = features, self._last_level
        for index, filters in enumerate(preset.output_filters):
            x = self.output_convolution(
                x, level, filters, self.policy, name=f"output_{index}"
            )
            x = keras.layers.LeakyReLU(LEAKY_SLOPE, dtype=self.policy)(x)
            level = preset.output_level
        # Training starts at the template.
        x = self.output_convolution(
            x,
            level,
            3,
            "float32",
            name="displacements",
            kernel_initializer="zeros",
        )
        level = preset.output_level
        if preset.displacement_level is not None:
            coarse = self.coarse_displacements(embedding)
            coarse = self.upsample(
                coarse, preset.displacement_level, level, "float32"
            )
            x = keras.layers.Add(dtype="float32")([x, coarse])
        return keras.layers.Rescaling(
            _DISPLACEMENT_GAIN, dtype="float32", name=DISPLACEMENTS
        )(x)

    def vertices(self, template, displacements, camera):
        """The template under a camera, displaced."""
        level, upsampling = self.preset.output_level, None
        if level > 0:
            last = level if self.fused else 1
            displacements = self.upsample(displacements, level, last, "float32")
            upsampling = self._upsampling(last, 0)
        return displace(template, displacements, camera, upsampling)

    def output_convolution(self, x, level, filters, policy, **kwargs):
        """A graph convolution on the output level, up-sampling if needed."""
        output_level, upsampling = self.preset.output_level, None
        if level > output_level:
            # The convolution takes the cheaper order: where it has fewer
            # channels than its input, it up-samples those.
            last = level if self.fused else output_level + 1
            x = self.upsample(x, level, last, policy)
            upsampling = self._upsampling(last, output_level)
        return ChebConv(
            filters,
            self.laplacian(output_level),
            order=self.preset.order,
            upsampling=upsampling,
            dtype=policy,
            **kwargs,
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

    def upsample(self, x, level, finer_level, policy):
        """Features of `level` on a finer level."""
        steps = list(range(level, finer_level - 1, -1))
        if self.fused and level > finer_level:
            steps = [level, finer_level]
        for coarse, fine in itertools.pairwise(steps):
            x = MeshUpsampling(self._upsampling(coarse, fine), dtype=policy)(x)
        return x

    def laplacian(self, level):
        """The operator of a level's rescaled Laplacian."""
        return self._operator(
            (level,), lambda: self.hierarchy.levels[level].laplacian
        )

    def _upsampling(self, level, finer_level):
        """The operator from a level to a finer one."""

        def join():
            matrices = [
                sparse.csr_array(self.hierarchy.levels[each].upsampling)
                for each in range(finer_level + 1, level + 1)
            ]
            return functools.reduce(operator.matmul, matrices)

        return self._operator((level, finer_level), join)

    @property
    def _last_level(self):
        """The level of the last DenseGCN block."""
        return len(self.hierarchy.levels) - len(self.preset.decoder_growths)

    def _operator(self, key, make_matrix):
        if key not in self._operators:
            self._operators[key] = MeshOperator(make_matrix(), self.lowering)
        return self._operators[key]


def displace(template, displacements, camera, upsampling=None):
    """A template under a camera, displaced."""
    inputs = displacements if camera is None else [displacements, camera]
    return TemplateMesh(
        template,
        center=(CROP_CENTER, CROP_CENTER, 0.0),
        radius=CROP_UNITS / 2,
        upsampling=upsampling,
        dtype="float32",
        name="vertices",
    )(inputs)
