"""The commands `export` and `serve`."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from tf_facegcn.command_failures import (
    Debug,
    check_folder,
    failures_on_one_line,
)

serving_app = typer.Typer()

# TensorFlow Serving's flags that are switches: they may have a value.
_SWITCHES = frozenset(
    {
        "--enable-model-warmup",
        "--allow-version-labels-for-unavailable-models",
    }
)
_MICROSECONDS = 1e6
_MILLISECONDS = 1e3


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


class LogFormat(StrEnum):
    """How lines of the server's log are written."""

    TEXT = "text"
    JSON = "json"


class TensorFlowServingCommand(TyperCommand):
    """A command that also takes flags as TensorFlow Serving writes them.

    `--model_name=facegcn` is `--model-name facegcn`, and switches may be
    `--enable_model_warmup=false` or `--noenable_model_warmup`.
    """

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        """Parses arguments; called by Click."""
        return super().parse_args(ctx, _as_words(args))


def _as_words(arguments: list[str]) -> list[str]:
    found = []
    for argument in arguments:
        if not argument.startswith("--"):
            found.append(argument)
            continue
        name, separator, value = argument.partition("=")
        name = name.replace("_", "-")
        if name in _SWITCHES and not separator:
            separator, value = "=", "true"
        found.append(f"{name}{separator}{value}")
    return found


@serving_app.command(
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


# The options of `serve` are TensorFlow Serving's.
@serving_app.command(
    cls=TensorFlowServingCommand,
    epilog="Example: facegcn serve --model-base-path saved_models/facegcn "
    "--model-name facegcn --rest-api-port 8501",
)
def serve(  # noqa: PLR0913
    model_base_path: Annotated[
        str,
        typer.Option(metavar="DIR", help="Folder with version folders."),
    ] = "",
    model_name: Annotated[
        str, typer.Option(metavar="NAME", help="What requests call it.")
    ] = "default",
    model_config_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text proto ModelServerConfig: several models, versions, "
            "labels.",
        ),
    ] = None,
    model_config_file_poll_wait_seconds: Annotated[
        float,
        typer.Option(metavar="S", help="Read that file again so often."),
    ] = 0.0,
    file_system_poll_wait_seconds: Annotated[
        float,
        typer.Option(
            metavar="S", help="Look for new versions so often; 0: only once."
        ),
    ] = 1.0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen.")
    ] = "0.0.0.0",
    port: Annotated[
        int, typer.Option(metavar="N", help="Of gRPC; 0 for none.")
    ] = 8500,
    rest_api_port: Annotated[
        int, typer.Option(metavar="N", help="Of REST; 0 for none.")
    ] = 0,
    rest_api_num_threads: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests at a time.")
    ] = 16,
    rest_api_timeout_in_ms: Annotated[
        int, typer.Option(min=1, metavar="MS", help="Deadline of a request.")
    ] = 30000,
    grpc_socket_path: Annotated[
        str, typer.Option(metavar="PATH", help="Unix socket of gRPC.")
    ] = "",
    grpc_channel_arguments: Annotated[
        str,
        typer.Option(metavar="KEY=VALUE,...", help="Passed on to gRPC."),
    ] = "",
    ssl_config_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text proto SSLConfig."),
    ] = None,
    monitoring_config_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text proto MonitoringConfig."),
    ] = None,
    max_num_load_retries: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of a failing version.")
    ] = 5,
    load_retry_interval_micros: Annotated[
        int, typer.Option(min=0, metavar="US", help="Between those.")
    ] = 60_000_000,
    allow_version_labels_for_unavailable_models: Annotated[
        str, typer.Option(metavar="BOOL", help="Labels before versions.")
    ] = "false",
    enable_model_warmup: Annotated[
        str, typer.Option(metavar="BOOL", help="Make warm-up requests.")
    ] = "true",
    tensorflow_session_parallelism: Annotated[
        int, typer.Option(min=0, metavar="N", help="Sets the next two.")
    ] = 0,
    tensorflow_intra_op_parallelism: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Threads of an operation; 0: cores by requests running.",
        ),
    ] = 0,
    tensorflow_inter_op_parallelism: Annotated[
        int, typer.Option(min=0, metavar="N", help="Operations side by side.")
    ] = 0,
    max_running_requests: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At a time; one a core."),
    ] = None,
    max_waiting_requests: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="More are refused; one a core."),
    ] = None,
    max_request_megabytes: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Larger are refused.")
    ] = 200,
    log_format: Annotated[
        LogFormat, typer.Option(help="How a line of the log is written.")
    ] = LogFormat.TEXT,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log every request.")
    ] = False,
    grace_seconds: Annotated[
        float,
        typer.Option(metavar="S", help="What requests may take at the end."),
    ] = 30.0,
    debug: Debug = False,
) -> None:
    """Serve SavedModels over TensorFlow Serving's gRPC and REST interfaces."""
    with failures_on_one_line(debug=debug):
        from serving import server_options
        from serving.log_format import start_logging
        from serving.server import ModelServer

        if model_config_file is not None:
            models = server_options.read_models(model_config_file)
        elif model_base_path:
            models = server_options.one_model(model_name, model_base_path)
        else:
            raise typer.BadParameter(
                "Expected --model-base-path DIR or --model-config-file FILE"
            )
        cores = os.cpu_count() or 1
        options = server_options.ServerOptions(
            models,
            models_file=model_config_file,
            models_file_poll_seconds=model_config_file_poll_wait_seconds,
            host=host,
            port=port or None,
            socket_path=grpc_socket_path or None,
            rest_port=rest_api_port or None,
            rest_threads=rest_api_num_threads,
            rest_timeout=rest_api_timeout_in_ms / _MILLISECONDS,
            metrics_path=(
                server_options.read_monitoring(monitoring_config_file)
                if monitoring_config_file
                else None
            ),
            ssl=(
                server_options.read_ssl(ssl_config_file)
                if ssl_config_file
                else None
            ),
            channel_arguments=server_options.parse_channel_arguments(
                grpc_channel_arguments
            ),
            poll_seconds=file_system_poll_wait_seconds,
            max_running=max_running_requests or cores,
            max_waiting=(
                cores if max_waiting_requests is None else max_waiting_requests
            ),
            max_message_bytes=max_request_megabytes * 1_000_000,
            num_load_retries=max_num_load_retries,
            load_retry_seconds=load_retry_interval_micros / _MICROSECONDS,
            labels_of_missing=_switch(
                allow_version_labels_for_unavailable_models
            ),
            warm_up=_switch(enable_model_warmup),
            intra_op_threads=(
                tensorflow_intra_op_parallelism
                or tensorflow_session_parallelism
            ),
            inter_op_threads=(
                tensorflow_inter_op_parallelism
                or tensorflow_session_parallelism
            ),
        )
        start_logging(
            logging.DEBUG if debug or log_requests else logging.INFO,
            as_json=log_format is LogFormat.JSON,
        )
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        server = ModelServer(options)
        server.start()
        ended.wait()
        server.stop(grace_seconds)


def _switch(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise typer.BadParameter(f"Expected true or false, got {text!r}")
    return values[text.lower()]
