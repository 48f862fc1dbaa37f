"""Benchmark of the training data: examples a second, and the step's wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import keras
import numpy as np

from tf_facegcn.benchmarks.environment import describe_environment
from tf_facegcn.benchmarks.timing import interleaved_medians
from tf_facegcn.models.face_gcn import FaceGCN
from training.compilation import compile_network, supervised_vertices
from training.config import TrainingConfig, get_config
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.data.bundled_faces import bundled_faces, bundled_vertex_model
from training.data.epoch_sampler import EpochSampler
from training.data.photo_source import PhotoSource
from training.data.py_dataset import LoadedBatches
from training.data.record import TrainingExample
from training.data.synthetic import SyntheticFaces
from training.data.synthetic_source import SyntheticSource

# Stored photos are as large as those of AFLW that `lite` was trained on.
_PHOTO_SIZE = 120
_NUM_PHOTOS = 256
_FACE_SIZE = 256
_BATCH = 32


def benchmark_data(
    report: Callable[[str], object], seconds: float = 20.0
) -> dict[str, Any]:
    """Measures the sources of training data.

    Photos are JPEGs of rendered faces, so that no data is needed: to decode
    and to augment they cost the same.

    Args:
        report: Is told what is being measured.
        seconds: How long steps are timed.

    Returns:
        A dictionary that JSON can hold.
    """
    model = bundled_vertex_model()
    config = get_config("lite")
    photos = stored_photos(bundled_faces(_PHOTO_SIZE), _NUM_PHOTOS)
    network = FaceGCN.from_preset(config.preset)
    vertices = supervised_vertices(network, config.supervised_level)
    subset = model.subset(vertices)
    size = network.input_size
    figures: dict[str, Any] = {}
    report("rendered faces, one thread")
    figures["synthetic_256_one_core"] = _on_one_core()
    loaders = {
        "photos_120": BatchLoader(photos, subset, config.augmentation, size),
        "synthetic_160": BatchLoader(
            SyntheticSource(bundled_faces(round(1.25 * size)), 10_000),
            subset,
            config.augmentation,
            size,
        ),
        "photos_120_whole_mesh": BatchLoader(
            photos, model, Augmentation(), size
        ),
    }
    for name, loader in loaders.items():
        report(name)
        figures[f"{name}_all_cores"] = _batches_per_second(loader) * _BATCH
    report("training steps")
    steps = _step_times(network, config, loaders["photos_120"], seconds)
    return {
        "environment": describe_environment(),
        "examples_per_second": figures,
        "batch_size": _BATCH,
        "milliseconds_a_step": steps,
        "ratios": {"step_real_over_cached": steps["real"] / steps["cached"]},
    }


def stored_photos(faces: SyntheticFaces, count: int) -> PhotoSource:
    """Makes photos of rendered faces, encoded as JPEG.

    Args:
        faces: Renders them.
        count: How many.
    """
    examples = []
    for number in range(count):
        face = faces.face((number,))
        _, jpeg = cv2.imencode(".jpg", face.image[..., ::-1])
        examples.append(
            TrainingExample(
                f"rendered{number}.jpg",
                jpeg.tobytes(),
                face.parameters,
                face.camera,
                face.landmarks,
            )
        )
    return PhotoSource(examples, np.zeros(count))


def faces_per_second() -> float:
    """Renders faces of 256 pixels with labels of the whole mesh.

    Returns:
        The median rate of some batches, in this process.
    """
    faces, model = bundled_faces(_FACE_SIZE), bundled_vertex_model()
    rates = []
    for turn in range(6):
        started = time.perf_counter()
        batch = [faces.face((turn, number)) for number in range(_BATCH)]
        vertices = model.vertices(np.stack([face.parameters for face in batch]))
        for face, points in zip(batch, vertices, strict=True):
            camera = face.camera.astype(np.float32)
            points @ camera[:, :3].T + camera[:, 3]
        rates.append(_BATCH / (time.perf_counter() - started))
    # The first turn warms up.
    return float(np.median(rates[1:]))


def _on_one_core() -> float:
    """`faces_per_second` in a process of one thread on one core."""
    process = subprocess.run(
        [sys.executable, "-m", "training.bench_data"],
        env={
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:]
        raise OSError(f"rendering failed: {''.join(last)}")
    return float(process.stdout.splitlines()[-1])


def _sampler(loader: BatchLoader) -> EpochSampler:
    return EpochSampler(loader.source.probabilities(0), _BATCH, None, 0)


def _batches_per_second(loader: BatchLoader, count: int = 12) -> float:
    batches = LoadedBatches(loader, _sampler(loader))
    batches[0]
    started = time.perf_counter()
    for number in range(1, count + 1):
        batches[number]
    return count / (time.perf_counter() - started)


def _step_times(
    network: FaceGCN,
    config: TrainingConfig,
    loader: BatchLoader,
    seconds: float,
) -> dict[str, float]:
    """Milliseconds of a step on a cached batch and on the real pipeline."""
    # Imported here, as this module is also read where there is only JAX.
    from training.data.dataset import training_dataset

    vertices = supervised_vertices(network, config.supervised_level)
    fitted = network.at_vertices(vertices)
    compile_network(fitted, config, loader.vertex_model, 100)
    dataset = training_dataset(loader, _sampler(loader))
    batches: Iterator[Any] = iter(dataset)
    cached = next(batches)

    def step(batch: Any) -> None:
        keras.tree.map_structure(
            float, fitted.train_on_batch(*batch, return_dict=True)
        )

    return interleaved_medians(
        {
            "cached": lambda: step(cached),
            "real": lambda: step(next(batches)),
        },
        seconds,
        # Turns of several steps: else the pipeline fills its queue while the
        # cached batch is trained on.
        turn_seconds=4.0,
    )


if __name__ == "__main__":
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.stdout.write(f"{faces_per_second()}\n")
