"""FaceGCNPreset: the choices that make a network of the family."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FaceGCNPreset:
    """Sizes and switches of a `FaceGCN`.

    Attributes:
        input_size: Side of the square input in pixels.
        encoder_widths: Channels after each stage of the encoder, finest first;
            each stage halves the map.
        encoder_depths: Residual blocks of each stage.
        embedding_size: Length of the vector that the coarsest map becomes.
        embedding_hidden: Lengths of the dense layers before it.
        aggregation_widths: Channels of the aggregated map of each level that
            has a DenseGCN block, finest first.
        skip_connections: Whether the decoder is fed with maps at all;
            without, it sees the embedding only.
        aggregation_rounds: Rounds of the aggregation block; one less than
            stages is the paper's whole triangle, 0 feeds the decoder with the
            encoder's maps.
        aggregation_convolutions: 3 x 3 convolutions of a node.
        aggregation_upsampling: Whether coarser maps are fused into finer ones.
        aggregation_downsampling: Whether finer maps are fused into coarser
            ones.
        vertex_width: Channels of the coarsest vertices made of the embedding.
        decoder_growths: Filters of each convolution of each DenseGCN block,
            coarsest first; one block for each stage of the encoder, or for
            the coarsest of them.
        decoder_convolutions: Convolutions of a DenseGCN block.
        output_filters: Filters of the graph convolutions between the last
            DenseGCN block and the one to 3 channels.
        output_level: Level of the mesh on which these convolutions act,
            0 is the finest; from there the coordinates are up-sampled.
        order: Terms of the Chebyshev polynomials.
        laplacian: `"combinatorial"` (the paper's) or `"normalized"` (CoMA's);
            `None` takes the hierarchy's.
        vertex_order: Vertices of the coarse levels, which the pixels of a map
            are assigned to in turn: `"raster"`, from left to right and top to
            bottom on the face, or `"index"`, as in the template; `None` takes
            the hierarchy's.
        template_transform: Whether an affine camera predicted of the embedding
            moves the template, to which the decoder adds displacements. Not
            in the paper.
        vertex_embedding: Whether learned features of each vertex are added
            before each DenseGCN block. Not in the paper.
        displacement_level: Level of the mesh whose displacements are also
            predicted of the embedding by one linear map, as by a learned
            morphable model; `None` for none. Not in the paper.
    """

    input_size: int
    encoder_widths: tuple[int, ...]
    encoder_depths: tuple[int, ...]
    embedding_size: int
    aggregation_widths: tuple[int, ...]
    aggregation_rounds: int
    vertex_width: int
    decoder_growths: tuple[int, ...]
    output_filters: tuple[int, ...] = ()
    output_level: int = 0
    embedding_hidden: tuple[int, ...] = ()
    skip_connections: bool = True
    aggregation_convolutions: int = 3
    aggregation_upsampling: bool = True
    aggregation_downsampling: bool = True
    decoder_convolutions: int = 4
    order: int = 3
    laplacian: str | None = None
    vertex_order: str | None = None
    template_transform: bool = False
    vertex_embedding: bool = False
    displacement_level: int | None = None

    def __post_init__(self) -> None:
        num_stages = len(self.encoder_widths)
        if len(self.encoder_depths) != num_stages:
            raise ValueError(
                "Expected encoder_depths to have one entry a stage of the "
                f"encoder, {num_stages}. Received: "
                f"encoder_depths={self.encoder_depths}"
            )
        num_blocks = len(self.decoder_growths)
        if not 1 <= num_blocks <= num_stages:
            raise ValueError(
                f"Expected decoder_growths to have 1 to {num_stages} entries, "
                "at most one a stage of the encoder. Received: "
                f"decoder_growths={self.decoder_growths}"
            )
        if len(self.aggregation_widths) != num_blocks:
            raise ValueError(
                "Expected aggregation_widths to have one entry for each of "
                f"decoder_growths, {num_blocks}. Received: "
                f"aggregation_widths={self.aggregation_widths}"
            )
        if self.input_size % 2 ** len(self.encoder_widths):
            raise ValueError(
                "Expected an input that halves at each of "
                f"{len(self.encoder_widths)} stages. Received: "
                f"input_size={self.input_size}"
            )

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> FaceGCNPreset:
        """Makes a preset of its fields, with lists for tuples as JSON has.

        Raises:
            ValueError: If a field is unknown or missing, or does not fit.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in fields:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else "."
                raise ValueError(
                    f"FaceGCN has no argument {name!r}{hint} Received: "
                    f"{name}={fields[name]!r}"
                )
        for name, field in known.items():
            if field.default is dataclasses.MISSING and name not in fields:
                raise ValueError(
                    f"FaceGCN needs the argument {name!r}; from_preset knows "
                    f"it. Received: {sorted(fields)}"
                )
        arguments: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**arguments)


# The paper's network (Sec. III-E, Fig. 3). It names the sides of the maps, the
# 128 channels of the coarsest, the embedding and the 128 of the vertices, and
# the number of blocks and convolutions. The other widths are ours: all-128 maps
# would take 177 GFLOP, so fine maps are narrow.
_PAPER = FaceGCNPreset(
    input_size=256,
    encoder_widths=(16, 32, 64, 128, 128, 128),
    encoder_depths=(1, 1, 1, 1, 1, 1),
    embedding_hidden=(256,),
    embedding_size=256,
    aggregation_widths=(8, 16, 32, 64, 128, 128),
    aggregation_rounds=5,
    aggregation_convolutions=3,
    vertex_width=128,
    decoder_growths=(32, 32, 32, 32, 32, 32),
    decoder_convolutions=4,
    output_filters=(16,),
    order=3,
)
# Its four coarse levels, up to 1,024 vertices, to train first: with 1.15 of
# `paper`'s 5.07 GFLOP.
_PAPER_COARSE = dataclasses.replace(
    _PAPER,
    aggregation_widths=_PAPER.aggregation_widths[2:],
    aggregation_rounds=3,
    decoder_growths=_PAPER.decoder_growths[:4],
    output_filters=(),
    output_level=3,
)
# For CPUs and phones, with three parts of its own.
_LITE = FaceGCNPreset(
    input_size=128,
    encoder_widths=(16, 32, 64, 96, 128),
    encoder_depths=(1, 1, 1, 1, 1),
    embedding_size=256,
    # At batch 1 an operation costs more than its arithmetic, so there are few:
    # no graph convolutions beyond 256 vertices but the last, and maps as wide
    # as the encoder's.
    aggregation_widths=(64, 96, 128),
    aggregation_rounds=1,
    aggregation_convolutions=1,
    vertex_width=64,
    decoder_growths=(64, 64, 48),
    decoder_convolutions=1,
    output_level=3,
    template_transform=True,
    vertex_embedding=True,
    displacement_level=4,
)
# For tests.
_TINY = FaceGCNPreset(
    input_size=32,
    encoder_widths=(4, 6, 8),
    encoder_depths=(1, 1, 1),
    embedding_size=16,
    aggregation_widths=(4, 4, 4),
    aggregation_rounds=2,
    aggregation_convolutions=1,
    vertex_width=8,
    decoder_growths=(2, 2, 2),
    decoder_convolutions=2,
    output_filters=(4,),
    template_transform=True,
    vertex_embedding=True,
    displacement_level=2,
)
# What the paper leaves out one at a time (Sec. V-C): the aggregation block,
# so that the decoder sees the embedding only; its nested nodes, so that the
# decoder sees the encoder's maps, as in a U-net; each of its two ways.
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "no_aggregation": {"skip_connections": False},
    "unet": {"aggregation_rounds": 0},
    "no_upsampling": {"aggregation_upsampling": False},
    "no_downsampling": {"aggregation_downsampling": False},
}

PRESETS: Mapping[str, FaceGCNPreset] = {
    "paper": _PAPER,
    "paper_coarse": _PAPER_COARSE,
    "lite": _LITE,
    "tiny": _TINY,
    **{
        f"{size}_{name}": dataclasses.replace(preset, **changes)
        for size, preset in (("paper", _PAPER), ("lite", _LITE))
        for name, changes in ABLATIONS.items()
    },
}
