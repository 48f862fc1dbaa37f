"""The command line, `facegcn`: parses and calls.

What takes long to import is imported inside the commands, so that `--help`
is fast.
"""

from __future__ import annotations

import io
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tf_facegcn.bench_commands import bench_app
from tf_facegcn.command_failures import (
    Debug,
    check_folder,
    failures_on_one_line,
    report_unexpected,
)
from tf_facegcn.export_command import export_app
from tf_facegcn.predict_command import Weights, predict_app
from tf_facegcn.serve_command import serve_app


class Boxes(StrEnum):
    """Where the first crops of an evaluation come from."""

    TRUTH = "truth"
    DETECTOR = "detector"


app = typer.Typer(
    name="facegcn",
    help="3D dense face alignment: a photo in, a 53,215-vertex mesh out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain text: messages stay on one line, also in a pipe.
    rich_markup_mode=None,
)
app.add_typer(predict_app)
app.add_typer(bench_app, name="bench")
app.add_typer(export_app)
app.add_typer(serve_app)


def main() -> None:
    """Runs the command line; the process ends with its exit code."""
    sys.excepthook = report_unexpected
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Not `app()`, which puts Typer's own hook in that place.
    typer.main.get_command(app)(prog_name="facegcn")


@app.command(
    epilog="Example: facegcn train --config lite --workdir output/lite "
    "--set data_dir=data --set epochs=10"
)
def train(
    config: Annotated[
        str, typer.Option(metavar="NAME", help="Name of a configuration.")
    ],
    workdir: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Everything is written here; a run that was interrupted goes "
            "on from its last checkpoint.",
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a field of the configuration; may be repeated.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a network."""
    from training.config import get_config
    from training.config_overrides import override

    try:
        changed = override(get_config(config), assignments or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with failures_on_one_line(debug=debug):
        check_folder(workdir, "--workdir")
        from training.train import train as run

        weights = run(changed, workdir)
        typer.echo(f"{weights}: the trained network; {workdir} has the rest")


@app.command(
    epilog="Example: facegcn evaluate --dataset aflw2000 --data-dir AFLW2000 "
    "--weights lite --output output/aflw2000"
)
def evaluate(  # noqa: PLR0913
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset: aflw2000.")
    ],
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the dataset.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the results."
        ),
    ],
    weights: Weights = "lite",
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score the landmarks in this .npz file (names, landmarks68) "
            "instead of a network's.",
        ),
    ] = None,
    boxes: Annotated[
        Boxes, typer.Option(help="Where the network's first crop comes from.")
    ] = Boxes.TRUTH,
    refinements: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Crop again around the predicted landmarks, upright, so "
            "often.  "
            "[default: 0 from the truth, 1 from the detector]",
        ),
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror", help="Average with the mirrored crop's prediction."
        ),
    ] = False,
    narrower: Annotated[
        bool,
        typer.Option(
            "--narrower",
            help="Average with the prediction for a crop a tenth narrower.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Measure landmark errors on a dataset."""
    with failures_on_one_line(debug=debug):
        check_folder(output, "--output")
        if predictions is None:
            from tf_facegcn.models.released_weights import find_weights

            find_weights(weights)  # Fails before TensorFlow is imported.
        from training.evaluate import evaluate as run
        from training.evaluate import metrics_table
        from training.landmark_prediction import LookOptions

        metrics = run(
            dataset=dataset,
            data_dir=data_dir,
            weights=weights if predictions is None else None,
            output=output,
            predictions=predictions,
            look=LookOptions(
                boxes.value, refinements, mirror=mirror, narrower=narrower
            ),
        )
        typer.echo("\n".join(metrics_table(metrics)))
        if metrics.get("num_missed"):
            typer.echo(
                f"{metrics['num_missed']} faces were not detected; the network "
                "saw the whole photo instead"
            )
        typer.echo(f"{output / 'metrics.json'}: the same, and the protocol")


@app.command(epilog="Example: facegcn hierarchy --output output/hierarchy.npz")
def hierarchy(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="An .npz file."),
    ],
    face_model: Annotated[
        str,
        typer.Option(
            metavar="head|PATH",
            help="The bundled head, or the .npz file of a morphable model.",
        ),
    ] = "head",
    debug: Debug = False,
) -> None:
    """Build the mesh hierarchy of a face model."""
    with failures_on_one_line(debug=debug):
        from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
        from tf_facegcn.geometry.morphable_model import MorphableModel

        template = (
            MorphableModel.bundled()
            if face_model == "head"
            else MorphableModel.load(Path(face_model))
        ).template
        started = time.perf_counter()
        built = MeshHierarchy.build(template)
        output.parent.mkdir(parents=True, exist_ok=True)
        built.save(output)
        sizes = ", ".join(f"{size:,}" for size in built.sizes)
        typer.echo(f"{output}: {sizes} vertices, {_seconds(started)}")


def _seconds(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
