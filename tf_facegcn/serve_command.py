"""The command `serve`."""

from __future__ import annotations

import logging
import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from tf_facegcn.command_failures import Debug, failures_on_one_line

serve_app = typer.Typer()

# TensorFlow Serving's flags that are switches: they may have a value.
_SWITCHES = frozenset(
    {
        "--allow-version-labels-for-unavailable-models",
        "--enable-batching",
        "--enable-model-warmup",
        "--enable-serialization-as-tensor-content",
        "--enable-signature-method-name-check",
        "--rest-api-enable-cors-support",
    }
)
# Those that tune what this server has none of; they change no answer.
_IGNORED = frozenset(
    {
        "--enable-grpc-healthcheck-service",
        "--enable-profiler",
        "--flush-filesystem-caches",
        "--grpc-max-threads",
        "--num-load-threads",
        "--num-tflite-interpreters-per-pool",
        "--num-tflite-pools",
        "--num-unload-threads",
        "--remove-unused-fields-from-bundle-metagraph",
        "--skip-initialize-tpu",
        "--xla-cpu-compilation-enabled",
        "--xla-gpu-compilation-enabled",
    }
)
_MICROSECONDS = 1e6
_MILLISECONDS = 1e3
# Requests that are in the server at a time when they run in batches.
_BATCHED_REQUESTS = 128


class LogFormat(StrEnum):
    """How lines of the server's log are written."""

    TEXT = "text"
    JSON = "json"


class TensorFlowServingCommand(TyperCommand):
    """A command that also takes flags as TensorFlow Serving writes them.

    `--model_name=facegcn` is `--model-name facegcn`, and switches may have a
    value, `--enable_batching=false`.
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
        if name in _IGNORED:
            typer.echo(f"{name} is ignored: it tunes nothing here", err=True)
            continue
        if name in _SWITCHES and not separator:
            separator, value = "=", "true"
        found.append(f"{name}{separator}{value}")
    return found


# The options are TensorFlow Serving's, and a few of our own.
@serve_app.command(
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
    rest_api_enable_cors_support: Annotated[
        str, typer.Option(metavar="BOOL", help="Let pages of others ask.")
    ] = "false",
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
    enable_batching: Annotated[
        str, typer.Option(metavar="BOOL", help="Run requests together.")
    ] = "false",
    batching_parameters_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text proto BatchingParameters."),
    ] = None,
    enable_signature_method_name_check: Annotated[
        str,
        typer.Option(
            metavar="BOOL",
            help="Classify and Regress need signatures of that method.",
        ),
    ] = "false",
    enable_serialization_as_tensor_content: Annotated[
        str, typer.Option(metavar="BOOL", help="Answer in packed bytes.")
    ] = "false",
    saved_model_tags: Annotated[
        str,
        typer.Option(metavar="TAG,...", help="Of the graph to take."),
    ] = "serve",
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
    num_request_iterations_for_warmup: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often; 0 is once.")
    ] = 0,
    per_process_gpu_memory_fraction: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="F", help="0: as needed."),
    ] = 0.0,
    tensorflow_session_config_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text proto ConfigProto."),
    ] = None,
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
        typer.Option(
            min=1,
            metavar="N",
            help=f"At a time; one a core, {_BATCHED_REQUESTS} with batching.",
        ),
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
        batches = _switch(enable_batching)
        if batching_parameters_file is not None and not batches:
            raise typer.BadParameter(
                "--batching_parameters_file needs --enable_batching"
            )
        if port and port == rest_api_port:
            raise typer.BadParameter(
                f"--port and --rest_api_port are both {port}"
            )
        if model_config_file is None and not model_base_path:
            raise typer.BadParameter(
                "Expected --model-base-path DIR or --model-config-file FILE"
            )
        from serving import server_options
        from serving.log_format import start_logging
        from serving.server import ModelServer

        cores = os.cpu_count() or 1
        options = server_options.ServerOptions(
            (
                server_options.read_models(model_config_file)
                if model_config_file
                else server_options.one_model(model_name, model_base_path)
            ),
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
            max_running=max_running_requests
            or (_BATCHED_REQUESTS if batches else cores),
            max_waiting=(
                cores if max_waiting_requests is None else max_waiting_requests
            ),
            max_message_bytes=max_request_megabytes * 1_000_000,
            num_load_retries=max_num_load_retries,
            load_retry_seconds=load_retry_interval_micros / _MICROSECONDS,
            labels_of_missing=_switch(
                allow_version_labels_for_unavailable_models
            ),
            warm_up_repeats=(
                max(1, num_request_iterations_for_warmup)
                if _switch(enable_model_warmup)
                else 0
            ),
            saved_model_tags=tuple(saved_model_tags.split(",")),
            session=server_options.read_session(
                tensorflow_session_config_file,
                per_process_gpu_memory_fraction,
            ),
            batching=(
                server_options.read_batching(batching_parameters_file)
                if batches
                else None
            ),
            check_method_names=_switch(enable_signature_method_name_check),
            with_tensor_content=_switch(enable_serialization_as_tensor_content),
            with_cors=_switch(rest_api_enable_cors_support),
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
        server = ModelServer(options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.request_stop())
        server.start()
        server.wait_until_stop()
        server.stop(grace_seconds)


def _switch(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise typer.BadParameter(f"Expected true or false, got {text!r}")
    return values[text.lower()]
