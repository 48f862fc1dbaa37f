"""ModelServer: serves SavedModels as TensorFlow Serving does."""

from __future__ import annotations

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    model_service_pb2,
    prediction_service_pb2,
)

from serving.admission import Admission
from serving.batching import Batcher
from serving.grpc_services import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    add_services,
)
from serving.inference import Inference
from serving.metrics import Metrics
from serving.model_loader import ModelLoader
from serving.model_manager import ModelManager, RetryPolicy
from serving.rest_app import RestApp
from serving.rest_server import RestServer
from serving.server_options import ServerOptions, read_models
from serving.serving_error import ServingError

# Threads beside those that run or wait: to refuse, and to answer health and
# status while requests wait.
_FREE_THREADS = 8
# How often a server that loads looks whether it is to stop.
_POLL_SECONDS = 0.1
# How long callers get to notice that the server ends.
_NOTICE_SECONDS = 0.5
_SERVICES = ("", PREDICTION_SERVICE, MODEL_SERVICE)

_LOGGER = logging.getLogger(__name__)


class ModelServer:
    """Serves SavedModels as TensorFlow Serving does.

    Args:
        options: What it is started with.

    Raises:
        ValueError: If the configuration of a model is wrong.

    Attributes:
        port: Of gRPC, once started.
        rest_port: Of REST, once started.
    """

    def __init__(self, options: ServerOptions) -> None:
        # Both modules register what reflection answers with.
        _ = (model_service_pb2, prediction_service_pb2)
        self.options = options
        self.port: int | None = None
        self.rest_port: int | None = None
        self._metrics = Metrics()
        self.manager = ModelManager(
            options.models,
            ModelLoader(
                options.session_config(),
                options.saved_model_tags,
                options.warm_up_repeats,
                self._metrics,
            ),
            options.poll_seconds,
            RetryPolicy(options.num_load_retries, options.load_retry_seconds),
            labels_of_missing=options.labels_of_missing,
        )
        self._admission = Admission(options.max_running, options.max_waiting)
        self._batcher = (
            Batcher(options.batching, self._metrics)
            if options.batching
            else None
        )
        self._inference = Inference(
            self.manager,
            self._admission,
            self._batcher,
            self._metrics,
            check_method_names=options.check_method_names,
        )
        self._health = health.HealthServicer()
        self._is_stopping = threading.Event()
        self._server = self._make_grpc_server()
        self._rest: RestServer | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Loads the models that are there, then listens.

        As with TensorFlow Serving, who gets through can be answered. Models
        that are missing or broken are not waited for.

        Raises:
            OSError: If a port cannot be had.
        """
        self._check_ports()
        self._tell_health()
        self.manager.add_listener(self._tell_health)
        self.manager.start()
        while not self.manager.wait_for_first_look(_POLL_SECONDS):
            if self._is_stopping.is_set():
                return
        self._listen()
        self._server.start()
        if self.options.rest_port is not None:
            self._start_rest(self.options.rest_port)
        if self.options.models_file and self.options.models_file_poll_seconds:
            self._run(self._poll_models_file, self.options.models_file)

    def wait_until_ready(self, timeout: float | None = None) -> bool:
        """Waits until every model answers; returns whether it does."""
        return self.manager.wait_until_ready(timeout)

    def request_stop(self) -> None:
        """Ends `wait_until_stop`, and a `start` that still loads models."""
        self._is_stopping.set()

    def wait_until_stop(self) -> None:
        """Waits for `request_stop`."""
        self._is_stopping.wait()

    def stop(self, grace: float = 30.0) -> None:
        """Ends in order: not ready, answer what was accepted, free all.

        Args:
            grace: Seconds that requests may still take.
        """
        end = time.monotonic() + grace
        self._is_stopping.set()
        self._tell_health()
        # What gRPC receives while it stops is cancelled; it is better told to
        # go elsewhere, for as long as callers need to notice.
        self._admission.close()
        self._admission.wait_until_idle(grace)
        time.sleep(min(grace, _NOTICE_SECONDS))
        left = max(0.0, end - time.monotonic())
        stopped = self._server.stop(left)
        if self._rest is not None:
            self._rest.stop(left)
        stopped.wait()
        if self._batcher is not None:
            self._batcher.close()
        self.manager.close()
        for thread in self._threads:
            thread.join(grace)

    def _make_grpc_server(self) -> grpc.Server:
        options = self.options
        arguments = {
            "grpc.max_receive_message_length": options.max_message_bytes,
            "grpc.max_send_message_length": -1,
            # Two servers on one port would share its requests.
            "grpc.so_reuseport": 0,
            **options.channel_arguments,
        }
        num_threads = options.max_running + options.max_waiting + _FREE_THREADS
        server = grpc.server(
            ThreadPoolExecutor(num_threads, thread_name_prefix="grpc"),
            options=list(arguments.items()),
        )
        add_services(
            server,
            self._inference,
            self._metrics,
            with_tensor_content=options.with_tensor_content,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (
                PREDICTION_SERVICE,
                MODEL_SERVICE,
                health.SERVICE_NAME,
                reflection.SERVICE_NAME,
            ),
            server,
        )
        return server

    def _check_ports(self) -> None:
        """Finds a port that is taken before models are loaded for minutes."""
        for port in (self.options.port, self.options.rest_port):
            if not port:
                continue
            family = (
                socket.AF_INET6 if ":" in self.options.host else socket.AF_INET
            )
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.options.host.strip("[]"), port))
                except OSError as error:
                    raise OSError(
                        f"Cannot listen on {self.options.host}:{port}: "
                        f"{error}. Choose another one"
                    ) from error

    def _listen(self) -> None:
        options = self.options
        credentials = options.credentials()
        addresses = []
        if options.port is not None:
            addresses.append(f"{options.host}:{options.port}")
        if options.socket_path is not None:
            addresses.append(f"unix:{options.socket_path}")
        for address in addresses:
            try:
                port = (
                    self._server.add_insecure_port(address)
                    if credentials is None or address.startswith("unix:")
                    else self._server.add_secure_port(address, credentials)
                )
            except RuntimeError as error:
                port, reason = 0, error
            else:
                reason = RuntimeError("it is taken or not allowed")
            if not port:
                raise OSError(
                    f"Cannot listen on {address}: {reason}. Choose another one"
                )
            if not address.startswith("unix:"):
                self.port = port
            _LOGGER.info("gRPC on %s", address)

    def _start_rest(self, port: int) -> None:
        options = self.options
        app = RestApp(
            self._inference,
            self._metrics,
            options.rest_timeout,
            options.metrics_path,
            with_cors=options.with_cors,
        )
        self._rest = RestServer(
            app,
            host=options.host,
            port=port,
            num_threads=options.rest_threads,
            max_request_bytes=options.max_message_bytes,
            silence_seconds=options.rest_timeout + 30,
        )
        self.rest_port = self._rest.port
        self._rest.start()
        _LOGGER.info("REST on %s:%d", options.host, self.rest_port)

    def _run(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _poll_models_file(self, path: Path) -> None:
        known = self.options.models
        while not self._is_stopping.wait(self.options.models_file_poll_seconds):
            try:
                models = read_models(path)
                if models != known:
                    self.manager.replace(models)
                    known = models
            except (OSError, ValueError, ServingError) as error:
                _LOGGER.error("%s: %s", path, error)

    def _tell_health(self) -> None:
        ready = self.manager.is_ready and not self._is_stopping.is_set()
        status = health_pb2.HealthCheckResponse.ServingStatus
        for service in _SERVICES:
            self._health.set(
                service, status.SERVING if ready else status.NOT_SERVING
            )
