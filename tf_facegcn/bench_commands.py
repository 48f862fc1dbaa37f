"""The commands `facegcn bench ...`: measure and write the figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tf_facegcn.command_failures import Debug, failures_on_one_line

bench_app = typer.Typer(
    help="Measure the project and write the figures as JSON.",
    no_args_is_help=True,
)

JsonFile = Annotated[
    Path, typer.Option("--json", metavar="FILE", help="Where it goes.")
]


@bench_app.command(
    "hierarchy",
    epilog="Example: facegcn bench hierarchy --json output/hierarchy.json",
)
def bench_hierarchy(json_file: JsonFile, debug: Debug = False) -> None:
    """Measure building and loading the mesh hierarchy of the bundled head."""
    with failures_on_one_line(debug=debug):
        from tf_facegcn.benchmarks.hierarchy import benchmark_hierarchy
        from tf_facegcn.geometry.morphable_model import MorphableModel

        template = MorphableModel.bundled().template
        _write(json_file, benchmark_hierarchy(template))


@bench_app.command(
    "graph", epilog="Example: facegcn bench graph --json output/graph.json"
)
def bench_graph(
    json_file: JsonFile,
    grid: Annotated[
        bool,
        typer.Option(help="Also time every lowering on every level (long)."),
    ] = True,
    debug: Debug = False,
) -> None:
    """Measure graph convolutions, beside CoMA's formulation of them."""
    with failures_on_one_line(debug=debug):
        from tf_facegcn.benchmarks.graph import benchmark_graph
        from tf_facegcn.benchmarks.graph_cases import CASES, grid_cases
        from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
        from tf_facegcn.models.face_gcn import HIERARCHY_FILE

        hierarchy = MeshHierarchy.load(HIERARCHY_FILE)
        cases = list(grid_cases(hierarchy.sizes)) if grid else []
        figures = benchmark_graph(hierarchy, CASES, cases, report=typer.echo)
        _write(json_file, figures)


@bench_app.command(
    "model", epilog="Example: facegcn bench model --json output/model.json"
)
def bench_model(
    json_file: JsonFile,
    grid: Annotated[
        bool,
        typer.Option(help="Also time every preset at batch 1 and 8 (long)."),
    ] = True,
    debug: Debug = False,
) -> None:
    """Measure whole networks, beside PRNet's and CoMA's formulation."""
    with failures_on_one_line(debug=debug):
        from tf_facegcn.benchmarks.model import (
            HEADLINE,
            RATIOS,
            benchmark_model,
            grid_cases,
        )
        from tf_facegcn.models.face_gcn_presets import PRESETS

        networks = [name for name in PRESETS if name != "tiny"]
        groups = grid_cases(networks) if grid else []
        figures = benchmark_model(HEADLINE, RATIOS, groups, report=typer.echo)
        _write(json_file, figures)


@bench_app.command(
    "data", epilog="Example: facegcn bench data --json output/data.json"
)
def bench_data(json_file: JsonFile, debug: Debug = False) -> None:
    """Measure the training data, beside the training step that it feeds."""
    with failures_on_one_line(debug=debug):
        from training.bench_data import benchmark_data

        _write(json_file, benchmark_data(report=typer.echo))


@bench_app.command(
    "train", epilog="Example: facegcn bench train --json output/train.json"
)
def bench_train(json_file: JsonFile, debug: Debug = False) -> None:
    """Measure training steps and their memory, beside CoMA's formulation."""
    with failures_on_one_line(debug=debug):
        from training.bench_train import benchmark_training

        _write(json_file, benchmark_training(report=typer.echo))


@bench_app.command(
    "serving",
    epilog="Example: facegcn bench serving --json output/serving.json",
)
def bench_serving(
    json_file: JsonFile,
    seconds: Annotated[
        float, typer.Option(min=1, metavar="S", help="Of each load.")
    ] = 20.0,
    swaps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of the version.")
    ] = 20,
    restarts: Annotated[
        int, typer.Option(min=1, metavar="N", help="After a kill.")
    ] = 3,
    debug: Debug = False,
) -> None:
    """Measure the server: overhead, load, restarts, swaps of versions."""
    with failures_on_one_line(debug=debug):
        from serving.bench_serving import benchmark_serving

        figures = benchmark_serving(seconds, swaps, restarts, report=typer.echo)
        _write(json_file, figures)


def _write(path: Path, figures: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(f"{path}: written")
