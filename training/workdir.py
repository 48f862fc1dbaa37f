"""Workdir: the files of a training run besides its checkpoints."""

from __future__ import annotations

import csv
import json
import math
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from training.config import TrainingConfig
from training.disk_space import check_disk_space

_ENVIRONMENT = "environment.json"
_PACKAGES = ("tensorflow", "jax", "keras", "numpy", "opencv-python-headless")

# What does not change the result of a training, or not what it aims at.
_MACHINE_FIELDS = (
    *("data_dir", "strategy", "logical_devices", "tensorboard"),
    "loader_processes",
)


class Workdir:
    """The folder of a training run.

    Files are written under a temporary name and renamed, so that none is half
    written.

    Args:
        folder: Its path; made when the configuration is written.
        writable: Whether this process writes; of several machines only the
            first does.
    """

    def __init__(self, folder: str | Path, *, writable: bool = True) -> None:
        self.folder = Path(folder)
        self.writable = writable
        self.checkpoints = self.folder / "checkpoints"
        self.labels = self.folder / "labels.npz"
        self.history = self.folder / "history.csv"
        self.tensorboard = self.folder / "tensorboard"

    @property
    def has_checkpoints(self) -> bool:
        """Whether a training began here."""
        return any(self.checkpoints.glob("*"))

    def write_config(self, config: TrainingConfig) -> None:
        """Writes `config.json`, or compares it with the one that is there.

        Raises:
            ValueError: If the folder belongs to another configuration.
        """
        path = self.folder / "config.json"
        if path.is_file():
            _check_same(path, config)
        self.write(path.name, config.to_json())

    def write_environment(self, fingerprint: str, devices: str) -> None:
        """Writes `environment.json`: what a training depends on besides.

        Args:
            fingerprint: Hex digest of the data.
            devices: Description of the devices.

        Raises:
            ValueError: If a training began here on other data.
        """
        if self.has_checkpoints:
            _check_same_data(self.folder / _ENVIRONMENT, fingerprint)
        environment = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "backend": keras.backend.backend(),
            "devices": devices,
            "packages": _versions(),
            "git_revision": _git_revision(),
            "data_fingerprint": fingerprint,
        }
        self.write_json(_ENVIRONMENT, environment)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file."""
        self.write(name, json.dumps(content, indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        """Writes a text file."""
        if not self.writable:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"partial-{name}"
        try:
            partial.write_text(text)
            partial.replace(self.folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def save_model(self, model: keras.Model, name: str) -> Path:
        """Saves a network as a `.keras` file; returns its path."""
        path = self.folder / f"{name}.keras"
        if self.writable:
            partial = self.folder / f"partial-{path.name}"
            # Keras packs a temporary file into another.
            check_disk_space(partial, model.variables, num_copies=2)
            try:
                model.save(partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def cut_history(self, num_epochs: int, metric: str) -> float:
        """Drops what was logged after the checkpoint.

        Args:
            num_epochs: Epochs that are in the checkpoint.
            metric: Column of the validation error.

        Returns:
            The lowest validation error of those epochs, infinity without any.
        """
        if not self.history.is_file():
            return math.inf
        with self.history.open(newline="") as file:
            rows = list(csv.DictReader(file))[:num_epochs]
        if self.writable and not rows:
            self.history.unlink()
        elif self.writable:
            lines = [",".join(rows[0])]
            lines += [",".join(row.values()) for row in rows]
            self.write(self.history.name, "\n".join(lines) + "\n")
        return min((float(row[metric]) for row in rows), default=math.inf)


def _check_same(path: Path, config: TrainingConfig) -> None:
    try:
        saved = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"Expected the configuration of a training in {path}, but it is "
            "no JSON. Remove it, or name a new workdir"
        ) from error
    wanted = json.loads(config.to_json())
    differing = [
        name
        for name in sorted({*saved, *wanted})
        if saved.get(name) != wanted.get(name) and name not in _MACHINE_FIELDS
    ]
    if differing:
        name = differing[0]
        raise ValueError(
            "Expected a new workdir, or the one that this configuration was "
            "trained in; it holds another configuration, which differs in "
            f"{', '.join(differing)}. Received: {name}={wanted.get(name)!r}, "
            f"workdir={str(path.parent)!r} with {name}={saved.get(name)!r}"
        )


def _check_same_data(path: Path, fingerprint: str) -> None:
    if not path.is_file():
        return
    began_on = json.loads(path.read_text()).get("data_fingerprint")
    if began_on not in (None, fingerprint):
        raise ValueError(
            "Expected the data that this training began on: the same photos, "
            "and a second teacher of the same weights. Bring them back, or "
            f"name a new workdir. Received: workdir={str(path.parent)!r}, "
            f"begun on {began_on[:12]}, with data {fingerprint[:12]}"
        )


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_revision() -> str | None:
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
