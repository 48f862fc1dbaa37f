"""The command `export`."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tf_facegcn.command_failures import (
    Debug,
    check_folder,
    failures_on_one_line,
)

export_app = typer.Typer()


class Precision(StrEnum):
    """What the layers of an exported network compute in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Lowering(StrEnum):
    """How an exported network multiplies by sparse matrices."""

    AUTO = "auto"
    CSR = "csr"
    GATHER = "gather"
    SPARSE = "sparse"


@export_app.command(
    epilog="Example: facegcn export --weights lite "
    "--output saved_models/facegcn"
)
def export(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The model's folder, which gets a version folder.",
        ),
    ],
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH", help="Released weights or a .keras file."
        ),
    ] = "lite",
    version: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of the version; one more than the newest.",
        ),
    ] = None,
    fused: Annotated[
        bool,
        typer.Option(
            "--fused", help="Make adjacent linear maps one (for inference)."
        ),
    ] = False,
    precision: Annotated[
        Precision, typer.Option(help="What the layers compute in.")
    ] = Precision.FLOAT32,
    lowering: Annotated[
        Lowering,
        typer.Option(
            help="How sparse matrices are multiplied; auto is compiled by "
            "XLA, the others need none."
        ),
    ] = Lowering.AUTO,
    debug: Debug = False,
) -> None:
    """Export a network as a SavedModel, for TensorFlow Serving."""
    with failures_on_one_line(debug=debug):
        check_folder(output, "--output")
        from tf_facegcn.models.released_weights import find_weights

        find_weights(weights)  # Fails before TensorFlow is imported.
        from serving.export_job import export_weights

        started = time.perf_counter()
        folder, lines = export_weights(
            weights,
            output,
            version,
            fused=fused,
            precision=precision.value,
            lowering=lowering.value,
        )
        for line in lines:
            typer.echo(line)
        typer.echo(f"{folder}: written, {time.perf_counter() - started:.1f} s")
