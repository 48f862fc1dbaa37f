"""Photos that are loaded by processes of their own."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.training_process import finish, kill_after, start
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.face_gcn import FaceGCN
from training.config import get_config
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.data.dataset import training_dataset
from training.data.epoch_sampler import EpochSampler
from training.data.loader_processes import LoaderProcesses
from training.data.py_dataset import LoadedBatches
from training.data.reading_failure import reading_failures
from training.data.synthetic import SyntheticFaces
from training.data.synthetic_source import KeptFaces, SyntheticSource
from training.data.vertex_model import VertexModel

SIZE = 64
STRONG = get_config("lite").augmentation

# Each of them starts processes.
pytestmark = pytest.mark.slow

_LOADING = """
import multiprocessing, time
import numpy as np
from training.data.augmentation import Augmentation
from training.data.loader_processes import LoaderProcesses
from tests.training.test_loader_processes import Blank


if __name__ == "__main__":
    loader = LoaderProcesses(Blank(), Blank(), Augmentation(), 8, 2)
    loader.load(np.array([0]), [(0,)])
    children = multiprocessing.active_children()
    print(loader._folder.name, *[child.pid for child in children], flush=True)
    time.sleep(60)
"""


class Blank:
    """A source and a vertex model that need no data."""

    def load(self, index, seed):
        box = np.array([[10.0, 10.0], [200.0, 200.0]])
        image = np.zeros((120, 120, 3), np.uint8)
        return _Example(image, np.zeros(3, np.float32), np.eye(3, 4), box)

    def centered(self, parameters, cameras):
        return cameras


@dataclasses.dataclass
class _Example:
    image: np.ndarray
    parameters: np.ndarray
    camera: np.ndarray
    landmarks: np.ndarray


@pytest.fixture
def plain(source, vertex_model):
    return BatchLoader(source, vertex_model, STRONG, SIZE)


@pytest.fixture
def processes(source, vertex_model):
    loader = LoaderProcesses(source, vertex_model, STRONG, SIZE, 2)
    yield loader
    loader.close()


def test_batches_are_those_of_one_process(plain, processes, source):
    sampler = EpochSampler(source.probabilities(0.5), 4, 3, seed=5)
    expected = LoadedBatches(plain, sampler)
    found = LoadedBatches(processes, sampler)
    of_tensorflow = training_dataset(processes, sampler).take(6)
    for number, batch in enumerate(of_tensorflow):
        images, vertices = expected[number]
        np.testing.assert_array_equal(found[number][0], images)
        np.testing.assert_array_equal(found[number][1], vertices)
        np.testing.assert_array_equal(batch[0], images)
        # TensorFlow multiplies in another order.
        np.testing.assert_allclose(batch[1], vertices, atol=1e-3)


def test_photo_that_cannot_be_read_is_named(processes, source):
    examples = list(source.examples)
    examples[2] = examples[2]._replace(image=b"no photo")
    broken = dataclasses.replace(source, examples=examples)
    loader = dataclasses.replace(processes, source=broken)
    with contextlib.closing(loader):
        with pytest.raises(ValueError, match=f"Photo {examples[2].name}"):
            loader.load(np.array([1, 2]), [(0,), (1,)])
        sampler = EpochSampler(source.probabilities(0.5), 24, 1, seed=5)
        with (
            pytest.raises(ValueError, match=f"^Photo {examples[2].name}"),
            reading_failures(),
        ):
            list(training_dataset(loader, sampler).take(3))


def test_rendered_faces_are_loaded_too():
    head = MorphableModel.bundled()
    model = FaceGCN.from_preset("tiny")
    nothing = np.zeros((68, 3))
    vertices = VertexModel.of_labels(head, nothing, nothing[None][:0])
    faces = SyntheticFaces(vertices, head, model.hierarchy, 40)
    kept = KeptFaces(SyntheticSource(faces, 4))
    expected = BatchLoader(kept, vertices, Augmentation(), 32)
    indices, seeds = np.array([0, 3]), [(0,), (1,)]
    loader = LoaderProcesses(kept, vertices, Augmentation(), 32, 1)
    with contextlib.closing(loader):
        found = loader.load(indices, seeds)
    wanted = expected.load(indices, seeds)
    np.testing.assert_array_equal(found.images, wanted.images)
    np.testing.assert_array_equal(found.parameters, wanted.parameters)


class Deadly:
    """A source, larger than a pipe, that ends who reads it."""

    def __init__(self):
        self.content = bytes(10_000_000)

    def __setstate__(self, state):
        os._exit(1)


def test_process_that_cannot_start_is_an_error_and_does_not_hang(vertex_model):
    loader = LoaderProcesses(Deadly(), vertex_model, STRONG, SIZE, 1)
    with (
        contextlib.closing(loader),
        pytest.raises(ChildProcessError, match="could not start"),
    ):
        loader.load(np.array([0]), [(0,)])


def test_closed_loader_leaves_no_process_and_no_file(processes):
    processes.load(np.array([0]), [(0,)])
    (pid,) = processes._pool._processes
    path = Path(processes._folder.name)
    assert path.is_dir()
    processes.close()
    assert not path.exists()
    assert not _runs(pid)


def test_process_that_was_ended_is_one_clear_error(processes, source):
    processes.load(np.array([0]), [(0,)])
    for pid in list(processes._pool._processes):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="loader_processes=2"):
        for _ in range(100):
            processes.load(np.array([0]), [(0,)])
            time.sleep(0.1)
    sampler = EpochSampler(source.probabilities(0.5), 4, 3, seed=5)
    with (
        pytest.raises(ChildProcessError, match="loader_processes=2"),
        reading_failures(),
    ):
        next(iter(training_dataset(processes, sampler)))


def test_processes_end_with_a_training_that_is_killed(tmp_path):
    script = tmp_path / "loading.py"
    script.write_text(_LOADING)
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, script],
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        folder, *pids = process.stdout.readline().split()
        process.kill()
    children = [int(pid) for pid in pids]
    assert children
    end = time.monotonic() + 20
    while any(map(_runs, children)):
        assert time.monotonic() < end, "The processes still run."
        time.sleep(0.1)
    assert not Path(folder).exists()


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] != "Z"


def test_training_is_the_same_and_goes_on_with_fewer(
    miniature_folder, tmp_path
):
    plain, by_processes = tmp_path / "plain", tmp_path / "processes"
    finish(start(plain, miniature_folder))
    begun = start(by_processes, miniature_folder, loader_processes=2)
    kill_after(begun, by_processes, 1)
    # As a workdir from before there were such processes.
    config = json.loads((by_processes / "config.json").read_text())
    del config["loader_processes"]
    (by_processes / "config.json").write_text(json.dumps(config))
    finish(start(by_processes, miniature_folder, loader_processes=1))
    found, expected = (
        np.genfromtxt(workdir / "history.csv", delimiter=",", names=True)
        for workdir in (by_processes, plain)
    )
    for name in expected.dtype.names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
