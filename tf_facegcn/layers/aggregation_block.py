"""AggregationBlock: nested fusion of a feature pyramid."""

import keras
import numpy as np

from tf_facegcn.layers.residual_block import ResidualBlock


@keras.saving.register_keras_serializable(package="tf_facegcn")
class AggregationBlock(keras.layers.Layer):
    """Fuses maps of all resolutions, round by round (paper, Fig. 3).

    Node (i, j) of level i, finest first, and round j concatenates its own
    level's last map, the coarser level's, bilinearly up-sampled by two, and
    the finer level's, brought down by a convolution of stride two. A 1 x 1
    convolution brings that to the level's width, and a residual block of
    3 x 3 convolutions follows. The nodes of a round are nested: round j has
    none at the j coarsest levels, whose last map stays.

    Args:
        widths: List of integers, the width of each level's maps, finest
            first; inputs of another width pass a 1 x 1 convolution.
        num_rounds: Integer, at most the number of levels less one, which is
            the paper's whole triangle.
        num_convolutions: Integer, 3 x 3 convolutions of a residual block, 3
            in the paper.
        upsampling: Boolean, whether coarser maps are fused in.
        downsampling: Boolean, whether finer maps are fused in.
        normalize: Boolean, whether the residual blocks have batch
            normalisation, see `assign_folded`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        List of `(batch, height, width, channels)`, finest first, each level
        half the height and width of the one before.

    Output shape:
        List of `(batch, height, width, widths[i])`, same heights and widths.
    """

    def __init__(
        self,
        widths,
        num_rounds,
        num_convolutions=3,
        upsampling=True,
        downsampling=True,
        normalize=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 <= num_rounds < max(len(widths), 1):
            raise ValueError(
                "num_rounds must be from 0 to the number of levels less one. "
                f"Received: num_rounds={num_rounds}, widths={widths}"
            )
        self.widths = list(widths)
        self.num_rounds = num_rounds
        self.num_convolutions = num_convolutions
        self.upsampling = upsampling
        self.downsampling = downsampling
        self.normalize = normalize
        # Made when it is known which inputs have another width.
        self.entries = {}
        self.upsample = keras.layers.UpSampling2D(
            2, interpolation="bilinear", dtype=self.dtype_policy
        )
        self.descents, self.fusions, self.residuals = {}, {}, {}
        for node in self._nodes():
            level, round_index = node
            label = f"{level}_{round_index}"
            width = self.widths[level]
            if downsampling and level > 0:
                self.descents[label] = self._convolution(
                    width, 3, 2, f"descent_{label}"
                )
            self.fusions[label] = self._convolution(
                width, 1, 1, f"fusion_{label}"
            )
            self.residuals[label] = ResidualBlock(
                width,
                num_convolutions=num_convolutions,
                normalize=normalize,
                dtype=self.dtype_policy,
                name=f"residual_{label}",
            )

    def build(self, input_shape):
        for level, (shape, width) in enumerate(
            zip(input_shape, self.widths, strict=True)
        ):
            if shape[-1] != width:
                entry = self._convolution(width, 1, 1, f"entry_{level}")
                entry.build(shape)
                self.entries[str(level)] = entry
        shapes = self.compute_output_shape(input_shape)
        for level, round_index in self._nodes():
            label = f"{level}_{round_index}"
            shape = shapes[level]
            channels = shape[-1]
            if self.upsampling:
                channels += self.widths[level + 1]
            if label in self.descents:
                self.descents[label].build(shapes[level - 1])
                channels += self.widths[level]
            self.fusions[label].build((*shape[:-1], channels))
            self.residuals[label].build(shape)

    def call(self, inputs, training=None):
        maps = list(inputs)
        for level, entry in self.entries.items():
            maps[int(level)] = entry(inputs[int(level)])
        for round_index in range(1, self.num_rounds + 1):
            last = list(maps)
            for level in range(len(maps) - round_index):
                label = f"{level}_{round_index}"
                sources = [last[level]]
                if self.upsampling:
                    sources.append(self.upsample(last[level + 1]))
                if label in self.descents:
                    sources.append(self.descents[label](last[level - 1]))
                if len(sources) > 1:
                    sources = [keras.ops.concatenate(sources, axis=-1)]
                fused = self.fusions[label](sources[0])
                maps[level] = self.residuals[label](fused, training=training)
        return maps

    def compute_output_shape(self, input_shape):
        return [
            (*shape[:-1], width)
            for shape, width in zip(input_shape, self.widths, strict=True)
        ]

    def get_config(self):
        return {**super().get_config(), **self._arguments()}

    def _arguments(self):
        return {
            "widths": self.widths,
            "num_rounds": self.num_rounds,
            "num_convolutions": self.num_convolutions,
            "upsampling": self.upsampling,
            "downsampling": self.downsampling,
            "normalize": self.normalize,
        }

    def assign_folded(self, source):
        """Takes the weights of a block that normalises, for inference.

        Args:
            source: `AggregationBlock` of the same shapes with `normalize`;
                this one is without.
        """
        for name in ("entries", "descents", "fusions"):
            others = getattr(source, name)
            for label, convolution in getattr(self, name).items():
                convolution.set_weights(others[label].get_weights())
        for label, residual in self.residuals.items():
            residual.assign_folded(source.residuals[label])

    def assign_coarser(self, source):
        """Takes the weights of a block of the coarser levels alone.

        The maps of these levels stay what they were there: what comes from
        the finer levels begins with kernels of zero.

        Args:
            source: `AggregationBlock` of the coarsest of this one's levels,
                otherwise alike.

        Raises:
            ValueError: If it is another.
        """
        offset = len(self.widths) - len(source.widths)
        expected = {
            **self._arguments(),
            "widths": self.widths[max(offset, 0) :],
            "num_rounds": min(self.num_rounds, len(source.widths) - 1),
        }
        if source._arguments() != expected:
            raise ValueError(
                "Expected a block of coarse levels, one with "
                f"{_listed(expected)}. Received: {_listed(source._arguments())}"
            )
        for level, entry in source.entries.items():
            self.entries[str(int(level) + offset)].set_weights(
                entry.get_weights()
            )
        for level, round_index in source._nodes():
            ours, theirs = (
                f"{each}_{round_index}" for each in (level + offset, level)
            )
            if theirs in source.descents:
                self.descents[ours].set_weights(
                    source.descents[theirs].get_weights()
                )
            self.residuals[ours].set_weights(
                source.residuals[theirs].get_weights()
            )
            kernel, bias = source.fusions[theirs].get_weights()
            padded = np.zeros(self.fusions[ours].kernel.shape, "float32")
            # The map from the finer level is the last that is concatenated.
            padded[:, :, : kernel.shape[2]] = kernel
            self.fusions[ours].set_weights([padded, bias])

    def _nodes(self):
        return [
            (level, round_index)
            for round_index in range(1, self.num_rounds + 1)
            for level in range(len(self.widths) - round_index)
        ]

    def _convolution(self, filters, kernel_size, strides, name):
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name=name,
        )


def _listed(arguments):
    return ", ".join(f"{name}={value}" for name, value in arguments.items())
