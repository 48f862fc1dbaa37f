"""ModelManager: the models of a server, and their versions over time."""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.loaded_model import LoadedModel
from serving.model_versions import stored_versions, wanted_versions
from serving.serving_error import ServingError, invalid_argument, not_found

State = get_model_status_pb2.ModelVersionStatus.State

_LOGGER = logging.getLogger(__name__)


class Loader(Protocol):
    """Loads a version and warms it up."""

    def __call__(self, name: str, folder: Path) -> LoadedModel:
        """Loads a version's folder."""


@dataclass
class VersionStatus:
    """What became of a version.

    Attributes:
        state: Of TensorFlow Serving's states.
        code: Status code; not OK if it could not be loaded.
        message: Why not.
    """

    state: int
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""


@dataclass
class _Version:
    model: LoadedModel
    num_users: int = 0


@dataclass
class _Model:
    config: ModelConfig
    ready: dict[int, _Version] = field(default_factory=dict)
    statuses: dict[int, VersionStatus] = field(default_factory=dict)
    # When a version that failed may be tried again, and how often it was.
    retries: dict[int, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryPolicy:
    """How a version that cannot be loaded is tried again.

    Attributes:
        num_retries: How often.
        interval: Seconds in between.
    """

    num_retries: int = 5
    interval: float = 60.0


class ModelManager:
    """Loads, replaces and unloads versions while requests go on.

    A new version is loaded and warmed up before the old one is let go, and an
    old one is let go when the last request that uses it has ended.

    Args:
        configs: The models.
        load: Loads a version.
        poll_seconds: How often folders are looked at; 0 for once only.
        retry: How often a failure is tried again.
        labels_of_missing: Whether a label may name a version that is not
            available.
    """

    def __init__(
        self,
        configs: Iterable[ModelConfig],
        load: Loader = lambda name, folder: LoadedModel(folder),
        poll_seconds: float = 1.0,
        retry: RetryPolicy | None = None,
        *,
        labels_of_missing: bool = False,
    ) -> None:
        self._load = load
        self._poll_seconds = poll_seconds
        self._retry = retry or RetryPolicy()
        self._labels_of_missing = labels_of_missing
        self._lock = threading.Condition()
        # Held while versions come and go, by one thread at a time.
        self._changing = threading.Lock()
        self._models = {
            config.name: _Model(config) for config in _checked(configs)
        }
        self._stopping = threading.Event()
        self._has_looked = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners: list[Callable[[], None]] = []

    def start(self) -> None:
        """Loads what is there, and goes on looking in the background."""
        self._thread = threading.Thread(
            target=self._poll, name="models", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops looking, and frees all models that nobody uses."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._changing:
            for model in list(self._models.values()):
                for version in list(model.ready):
                    self._unload(model, version)

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Has a function called after versions came or went."""
        self._listeners.append(listener)

    def known(self, name: str) -> str:
        """Returns the name if a model has it, or else nothing.

        What is counted by the names that callers send would fill the memory.
        """
        with self._lock:
            return name if name in self._models else ""

    @property
    def is_ready(self) -> bool:
        """Whether every model has a version that answers."""
        with self._lock:
            return bool(self._models) and all(
                model.ready for model in self._models.values()
            )

    def wait_for_first_look(self, timeout: float | None = None) -> bool:
        """Waits until what was there at the start is loaded, or has failed."""
        return self._has_looked.wait(timeout)

    def wait_until_ready(self, timeout: float | None = None) -> bool:
        """Waits until every model answers; returns whether it does."""
        with self._lock:
            return self._lock.wait_for(
                lambda: (
                    bool(self._models)
                    and all(model.ready for model in self._models.values())
                ),
                timeout,
            )

    @contextlib.contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[tuple[LoadedModel, int]]:
        """Holds a version for a request.

        Args:
            name: The model.
            version: Its version; `None` for the newest.
            label: Its version's label, instead of a version.

        Yields:
            The loaded model, and its version.

        Raises:
            ServingError: If there is none.
        """
        with self._lock:
            model = self._models.get(name)
            if model is not None and label is not None:
                version = self._version_of_label(model, label)
            wanted = f"Specific({name}, {version})"
            if version is None:
                wanted = f"Latest({name})"
                version = max(model.ready, default=None) if model else None
            if model is None or version not in model.ready:
                raise not_found(f"Servable not found for request: {wanted}")
            held = model.ready[version]
            held.num_users += 1
        try:
            yield held.model, version
        finally:
            with self._lock:
                held.num_users -= 1
                self._lock.notify_all()

    def statuses(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> dict[int, VersionStatus]:
        """Returns what became of a model's versions, the newest first.

        Raises:
            ServingError: If there are none.
        """
        with self._lock:
            model = self._models.get(name)
            found = dict(model.statuses) if model else {}
            if model is not None and label is not None:
                version = self._version_of_label(model, label)
        if not found:
            raise not_found(f"Could not find any versions of model {name}")
        if version is None:
            return dict(sorted(found.items(), reverse=True))
        if version not in found:
            raise not_found(f"Could not find version {version} of model {name}")
        return {version: found[version]}

    def replace(self, configs: Iterable[ModelConfig]) -> None:
        """Puts other models in place of these; those in common stay.

        Returns when every new model answers or has failed.

        Raises:
            ServingError: If the configurations are wrong; nothing is changed.
        """
        try:
            checked = {config.name: config for config in _checked(configs)}
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        with self._changing:
            with self._lock:
                self._check_labels(checked)
                dropped = []
                for name in set(self._models) - set(checked):
                    dropped.append(self._models.pop(name))
                for name, config in checked.items():
                    model = self._models.setdefault(name, _Model(config))
                    moved = model.config.base_path != config.base_path
                    if moved:
                        dropped.append(model)
                        self._models[name] = _Model(config)
                    model.config = config
            self._look()
            for model in dropped:
                for version in list(model.ready):
                    self._unload(model, version)
        self._tell()

    def _check_labels(self, configs: dict[str, ModelConfig]) -> None:
        if self._labels_of_missing:
            return
        for name, config in configs.items():
            known = self._models.get(name)
            for label, version in config.version_labels.items():
                if known is None or version not in known.ready:
                    raise ServingError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of "
                        f"model {name}, which is not currently available for "
                        f"inference (label {label})",
                    )

    def _version_of_label(self, model: _Model, label: str) -> int:
        if label not in model.config.version_labels:
            raise invalid_argument(
                f"Unrecognized servable version label: {label}"
            )
        return int(model.config.version_labels[label])

    def _poll(self) -> None:
        while True:
            with self._changing:
                self._look()
            self._has_looked.set()
            if self._poll_seconds <= 0:
                return
            if self._stopping.wait(self._poll_seconds):
                return

    def _look(self) -> None:
        for name, model in list(self._models.items()):
            if self._stopping.is_set():
                return
            stored = stored_versions(Path(model.config.base_path))
            wanted = wanted_versions(
                set(stored), model.config.model_version_policy
            )
            for version in sorted(wanted - set(model.ready), reverse=True):
                self._try_to_load(name, model, version, stored[version])
            # A folder that is unreadable for a moment must not end what
            # works, nor a new version that cannot be loaded.
            available = wanted & set(model.ready)
            if available:
                for version in set(model.ready) - wanted:
                    self._unload(model, version)

    def _try_to_load(
        self, name: str, model: _Model, version: int, folder: Path
    ) -> None:
        not_before, num_tries = model.retries.get(version, (0.0, 0))
        if num_tries > self._retry.num_retries or time.time() < not_before:
            return
        self._set_status(model, version, VersionStatus(State.LOADING))
        started = time.monotonic()
        try:
            loaded = self._load(name, folder)
        except Exception as error:  # noqa: BLE001 - other people's models.
            model.retries[version] = (
                time.time() + self._retry.interval,
                num_tries + 1,
            )
            _LOGGER.error("%s version %d: %s", name, version, error)
            given_up = num_tries >= self._retry.num_retries
            status = VersionStatus(
                State.END if given_up else State.LOADING,
                grpc.StatusCode.UNKNOWN,
                str(error),
            )
            self._set_status(model, version, status)
            return
        model.retries.pop(version, None)
        with self._lock:
            model.ready[version] = _Version(loaded)
            model.statuses[version] = VersionStatus(State.AVAILABLE)
            self._lock.notify_all()
        seconds = time.monotonic() - started
        _LOGGER.info("%s version %d: loaded, %.1f s", name, version, seconds)
        self._tell()

    def _unload(self, model: _Model, version: int) -> None:
        with self._lock:
            held = model.ready.pop(version)
            model.statuses[version] = VersionStatus(State.UNLOADING)
        self._tell()
        with self._lock:
            self._lock.wait_for(lambda: held.num_users == 0)
        held.model.close()
        self._set_status(model, version, VersionStatus(State.END))
        _LOGGER.info("%s version %d: unloaded", model.config.name, version)

    def _set_status(
        self, model: _Model, version: int, status: VersionStatus
    ) -> None:
        with self._lock:
            model.statuses[version] = status

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _checked(configs: Iterable[ModelConfig]) -> list[ModelConfig]:
    # Copies, as the caller may change its own.
    found = copy.deepcopy(list(configs))
    names = [config.name for config in found]
    for config in found:
        if not config.name or not config.base_path:
            raise ValueError(
                "Expected a name and a base_path for each model. Received: "
                f"name={config.name!r}, base_path={config.base_path!r}"
            )
        if config.model_platform not in ("", "tensorflow"):
            raise ValueError(
                f'Expected model_platform "tensorflow" for {config.name}. '
                f"Received: {config.model_platform!r}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"Expected each model once. Received: {names}")
    return found
