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
        aggregation_widths: Channels of each level's aggregated map, finest
            first.
        aggregation_rounds: Rounds of the aggregation block; one less than
            stages is the paper's whole triangle, 0 is none.
        aggregation_convolutions: 3 x 3 convolutions of a node.
        aggregation_upsampling: Whether coarser maps are fused into finer ones.
        aggregation_downsampling: Whether finer maps are fused into coarser
            ones.
        vertex_width: Channels of the coarsest vertices made of the embedding.
        decoder_growths: Filters of each convolution of each DenseGCN block,
            coarsest first; one block for each stage of the encoder.
        decoder_convolutions: Convolutions of a DenseGCN block.
        output_filters: Filters of the graph convolutions between the last
            DenseGCN block and the one to 3 channels.
        output_level: Level of the mesh on which these convolutions act,
            0 is the finest; from there the coordinates are up-sampled.
        order: Terms of the Chebyshev polynomials.
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
    aggregation_convolutions: int = 3
    aggregation_upsampling: bool = True
    aggregation_downsampling: bool = True
    decoder_convolutions: int = 4
    order: int = 3
    template_transform: bool = False
    vertex_embedding: bool = False
    displacement_level: int | None = None

    def __post_init__(self) -> None:
        for name in (
            "encoder_depths",
            "aggregation_widths",
            "decoder_growths",
        ):
            if len(getattr(self, name)) != len(self.encoder_widths):
                raise ValueError(
                    f"Expected {name} to have one entry a stage of the "
                    f"encoder, {len(self.encoder_widths)}. Received: "
                    f"{name}={getattr(self, name)}"
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


PRESETS = {
    "lite": FaceGCNPreset(
        input_size=128,
        encoder_widths=(16, 32, 64, 96, 128),
        encoder_depths=(1, 2, 2, 2, 2),
        embedding_size=256,
        aggregation_widths=(8, 16, 24, 32, 48),
        aggregation_rounds=1,
        aggregation_convolutions=1,
        vertex_width=64,
        decoder_growths=(32, 32, 24, 12, 6),
        decoder_convolutions=2,
        output_level=2,
        template_transform=True,
        vertex_embedding=True,
        displacement_level=3,
    ),
    "tiny": FaceGCNPreset(
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
    ),
}
