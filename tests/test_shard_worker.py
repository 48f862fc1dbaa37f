import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import pytest

from tests.fake_model import FakeFaceModel
from tests.imaging.photo_files import ASTRONAUT
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.predictor import Predictor
from tf_facegcn.shard_worker import ShardWorker
from tf_facegcn.writers.result_files import write_results

PHOTO = str(ASTRONAUT.absolute())
FORMATS = ("json", "overlay")


@pytest.fixture
def make_worker(tmp_path, monkeypatch):
    """Makes workers; what they change in this process is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cv2, "setNumThreads", lambda _: None)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))

    def make(make_predictor=lambda: Predictor(FakeFaceModel(), None)):
        return ShardWorker(make_predictor, tmp_path, tmp_path, FORMATS)

    return make


def task(*pairs):
    return {"name": "shard.tar", "photos": json.dumps(pairs)}


def read_shard(path):
    with tarfile.open(path) as shard:
        files = {x.name: shard.extractfile(x).read() for x in shard}
    lines = files.pop("report.jsonl").decode().splitlines()
    return files, [json.loads(line) for line in lines]


def test_holds_the_files_of_the_photos_and_a_report(make_worker, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    pairs = (PHOTO, "one"), ("bad.jpg", "bad"), (PHOTO, "two")
    report = make_worker()(task(*pairs))
    assert report == {
        "name": "shard.tar",
        "photos": 3,
        "faces": 2,
        "failures": 1,
    }
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["bad.jpg", "shard.tar"]
    files, lines = read_shard(tmp_path / "shard.tar")
    predictor = Predictor(FakeFaceModel(), None)
    (tmp_path / "plain").mkdir()
    pixels = read_photo(PHOTO)
    for stem in ("one", "two"):
        write_results(
            predictor(pixels), pixels, tmp_path / "plain", stem, FORMATS
        )
    expected = {x.name: x.read_bytes() for x in (tmp_path / "plain").iterdir()}
    assert files == expected
    assert [line["faces"] for line in lines] == [1, 0, 1]
    assert lines[1]["photo"] == "bad.jpg"
    assert "not a photo" in lines[1]["error"]
    assert not lines[0]["error"]


def test_the_same_shard_has_the_same_bytes(make_worker, tmp_path):
    worker = make_worker()
    shards = []
    for _ in range(2):
        worker(task((PHOTO, "one")))
        shards.append((tmp_path / "shard.tar").read_bytes())
    assert shards[0] == shards[1]


def test_nothing_is_left_of_a_shard_that_fails(make_worker, tmp_path):
    class Broken(FakeFaceModel):
        def predict_on_batch(self, x):
            raise MemoryError

    with pytest.raises(MemoryError):
        make_worker(lambda: Predictor(Broken(), None))(task((PHOTO, "one")))
    left = [path.name for path in tmp_path.iterdir()]
    assert left == [".shard.tar.journal"]


@pytest.mark.slow
def test_a_photo_that_ends_the_process_is_left_out(make_worker, tmp_path):
    (tmp_path / "deadly.jpg").write_bytes(Path(PHOTO).read_bytes())
    code = """
import os, sys
from pathlib import Path
from tf_facegcn import shard_worker
from tests.test_shard_worker import *
def read(path):
    if path.name == "deadly.jpg":
        os.kill(os.getpid(), 9)
    return read_photo(path)
shard_worker.read_photo = read
folder = Path(sys.argv[1])
worker = ShardWorker(
    lambda: Predictor(FakeFaceModel(), None), folder, folder, FORMATS
)
print(worker(task((PHOTO, "one"), ("deadly.jpg", "two"), (PHOTO, "three"))))
"""
    root = str(Path(__file__).parents[1])
    for attempt in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            check=False,
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert (done.returncode == 0) == (attempt == 2)
    files, lines = read_shard(tmp_path / "shard.tar")
    assert sorted(name.split("_")[0] for name in files) == [
        *("one", "one", "three", "three")
    ]
    assert "ended 2 times" in lines[1]["error"]
    assert not list(tmp_path.glob(".shard.tar.journal"))
