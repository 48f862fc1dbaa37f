"""ServerOptions: what a model server is started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelServerConfig,
)

from serving.batching_options import BatchingOptions
from serving.protos.server_config_pb2 import (
    BatchingParameters,
    MonitoringConfig,
    SSLConfig,
)

AnyMessage = TypeVar("AnyMessage", bound=Message)

# A mesh is 640 kB; this holds a batch of 300, and a photo of any camera.
DEFAULT_MESSAGE_BYTES = 200_000_000


@dataclass(frozen=True)
class ServerOptions:
    """What a model server is started with.

    Attributes:
        models: The models.
        models_file: Text proto `ModelServerConfig` that they came from; it is
            read again every `models_file_poll_seconds`, unless that is 0.
        models_file_poll_seconds: See there.
        host: Address to listen on.
        port: Of gRPC; 0 for a free one, `None` for none.
        socket_path: Unix socket of gRPC; `None` for none.
        rest_port: Of REST; 0 for a free one, `None` for none.
        rest_threads: Requests that REST answers at a time.
        rest_timeout: Seconds that a REST request may take.
        metrics_path: Where Prometheus reads; `None` for nowhere.
        ssl: Certificates; `None` to listen without.
        channel_arguments: Further arguments of gRPC's.
        poll_seconds: How often folders of models are looked at.
        max_running: Requests that run at the same time.
        max_waiting: Requests that wait; more are refused.
        max_message_bytes: Size of a request.
        num_load_retries: How often a version that fails is tried again.
        load_retry_seconds: Seconds in between.
        labels_of_missing: Whether a label may name a missing version.
        warm_up_repeats: How often the warm-up requests of a version are made.
        saved_model_tags: Of the graph to take of a SavedModel.
        session: Settings of TensorFlow's sessions; the numbers of threads
            are put in.
        batching: How requests are batched; `None` for each alone.
        check_method_names: Whether Classify and Regress need a signature of
            that method.
        with_tensor_content: Whether answers hold packed bytes in place of
            values.
        with_cors: Whether pages of other origins may use REST.
        intra_op_threads: TensorFlow's threads for one operation; 0 to share
            the cores among the requests that may run at the same time.
        inter_op_threads: TensorFlow's threads for operations side by side.
    """

    models: tuple[ModelConfig, ...]
    models_file: Path | None = None
    models_file_poll_seconds: float = 0.0
    host: str = "0.0.0.0"
    port: int | None = 8500
    socket_path: str | None = None
    rest_port: int | None = None
    rest_threads: int = 16
    rest_timeout: float = 30.0
    metrics_path: str | None = None
    ssl: SSLConfig | None = None
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)
    poll_seconds: float = 1.0
    max_running: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_waiting: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    num_load_retries: int = 5
    load_retry_seconds: float = 60.0
    labels_of_missing: bool = False
    warm_up_repeats: int = 1
    saved_model_tags: tuple[str, ...] = ("serve",)
    session: tf.compat.v1.ConfigProto | None = None
    batching: BatchingOptions | None = None
    check_method_names: bool = False
    with_tensor_content: bool = False
    with_cors: bool = False
    intra_op_threads: int = 0
    inter_op_threads: int = 0

    @property
    def threads_per_operation(self) -> int:
        """TensorFlow's threads for one operation."""
        # More threads than cores at work make each other wait: for small
        # networks that costs two fifths of the throughput.
        num_runs = (
            self.batching.num_threads if self.batching else self.max_running
        )
        shared = (os.cpu_count() or 1) // num_runs
        return self.intra_op_threads or max(1, shared)

    def session_config(self) -> tf.compat.v1.ConfigProto:
        """Makes the settings of TensorFlow's sessions."""
        config = tf.compat.v1.ConfigProto()
        if self.session is not None:
            config.CopyFrom(self.session)
        if self.intra_op_threads or not config.intra_op_parallelism_threads:
            config.intra_op_parallelism_threads = self.threads_per_operation
        if self.inter_op_threads:
            config.inter_op_parallelism_threads = self.inter_op_threads
        return config

    def credentials(self) -> grpc.ServerCredentials | None:
        """Makes gRPC's credentials; `None` to listen without."""
        if self.ssl is None:
            return None
        return grpc.ssl_server_credentials(
            [(self.ssl.server_key.encode(), self.ssl.server_cert.encode())],
            root_certificates=self.ssl.custom_ca.encode() or None,
            require_client_auth=self.ssl.client_verify,
        )


def one_model(name: str, base_path: str) -> tuple[ModelConfig, ...]:
    """Makes the configuration of a single model."""
    return (
        ModelConfig(
            name=name,
            # A server may be started elsewhere than it was configured.
            base_path=str(Path(base_path).absolute()),
            model_platform="tensorflow",
        ),
    )


def read_models(path: Path) -> tuple[ModelConfig, ...]:
    """Reads the models of a text proto `ModelServerConfig`.

    Raises:
        ValueError: If it is none, or has none.
    """
    config = read_text_proto(path, ModelServerConfig())
    if config.WhichOneof("config") != "model_config_list":
        raise ValueError(f"{path}: expected a model_config_list")
    return tuple(config.model_config_list.config)


def read_session(
    path: Path | None, gpu_memory_fraction: float = 0.0
) -> tf.compat.v1.ConfigProto:
    """Reads a text proto `ConfigProto` of TensorFlow's sessions.

    Args:
        path: The file; `None` for defaults.
        gpu_memory_fraction: Part of a GPU's memory to take; 0 for as much as
            is needed.

    Raises:
        ValueError: If it is none.
    """
    config = tf.compat.v1.ConfigProto()
    if path is not None:
        read_text_proto(path, config)
    if gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
    elif path is None:
        config.gpu_options.allow_growth = True
    return config


def read_batching(path: Path | None) -> BatchingOptions:
    """Reads a text proto `BatchingParameters`; `None` for defaults.

    Raises:
        ValueError: If it is none, or a number in it is wrong.
    """
    if path is None:
        return BatchingOptions()
    parameters = read_text_proto(path, BatchingParameters())
    try:
        return BatchingOptions.of_parameters(parameters)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_ssl(path: Path) -> SSLConfig:
    """Reads a text proto `SSLConfig`, which holds PEM text, not paths.

    Raises:
        ValueError: If it is none, or lacks the key or the certificate.
    """
    config = read_text_proto(path, SSLConfig())
    if not config.server_key or not config.server_cert:
        raise ValueError(
            f"{path}: expected server_key and server_cert, as PEM text"
        )
    return config


def read_monitoring(path: Path) -> str | None:
    """Reads a text proto `MonitoringConfig`; returns Prometheus' path."""
    config = read_text_proto(path, MonitoringConfig())
    prometheus = config.prometheus_config
    if not prometheus.enable:
        return None
    return prometheus.path or "/monitoring/prometheus/metrics"


def read_text_proto(path: Path, message: AnyMessage) -> AnyMessage:
    """Reads a text proto into a message.

    Raises:
        ValueError: If it is none.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a text proto {message.DESCRIPTOR.full_name}: "
            f"{error}"
        ) from error


def parse_channel_arguments(text: str) -> dict[str, int | str]:
    """Parses `key=value,key=value`; values that are numbers become integers.

    Raises:
        ValueError: If a part has no `=`.
    """
    found: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        key, separator, value = part.partition("=")
        if not separator:
            raise ValueError(
                "Expected comma-separated key=value as channel arguments. "
                f"Received: {part!r}"
            )
        found[key] = int(value) if value.lstrip("-").isdecimal() else value
    return found
