"""Long lists of photos, with the released weights and processes of Ray."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import psutil
import pytest

from tests.imaging.photo_files import ASTRONAUT
from tf_facegcn.sharded_job import ShardedJob

pytest.importorskip("ray", reason="Ray is not installed: requirements-ray.txt")

NUM_PHOTOS, SHARD_SIZE = 12, 2
NUM_SHARDS = NUM_PHOTOS // SHARD_SIZE


def start(folder, *arguments, workers=2):
    command = [sys.executable, "-m", "tf_facegcn", "predict"]
    command += ["--output", folder / "output", "--format", "json"]
    command += ["--workers", workers, "--shard-size", SHARD_SIZE]
    return subprocess.Popen(
        [str(part) for part in [*command, *arguments]],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def shards(folder):
    return sorted((folder / "output").glob("shard-*.tar"))


def wait_for_shards(folder, number, process):
    end = time.monotonic() + 120
    while len(shards(folder)) < number:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def workers_of(process):
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "ShardWorker" in " ".join(child.cmdline())
    ]


def check_results(folder):
    """Every photo has one face, the same one, and nothing else is there."""
    meshes, photos = set(), []
    for path in shards(folder):
        with tarfile.open(path) as shard:
            for member in shard:
                data = shard.extractfile(member).read()
                if member.name.endswith(".json"):
                    face = json.loads(data)
                    meshes.add(json.dumps(face["landmarks"]))
                else:
                    photos += map(json.loads, data.decode().splitlines())
    assert len(photos) == NUM_PHOTOS
    assert {line["faces"] for line in photos} == {1}
    assert len({line["stem"] for line in photos}) == NUM_PHOTOS
    assert len(meshes) == 1
    names = {path.name for path in (folder / "output").iterdir()}
    assert names == {"run.json", *(path.name for path in shards(folder))}


@pytest.fixture
def photos(tmp_path):
    """A folder of photos, of the same face under many names."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(NUM_PHOTOS):
        (folder / f"{number:02}.jpg").symlink_to(ASTRONAUT.absolute())
    return folder


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_command_lose_nothing(photos, tmp_path):
    # The command is killed, as when its machine goes down.
    with start(tmp_path, photos) as process:
        wait_for_shards(tmp_path, 1, process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    before = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
    assert 1 <= len(before) < NUM_SHARDS
    # Now one of the two workers is.
    done = len(before)
    with start(tmp_path, photos) as process:
        wait_for_shards(tmp_path, done + 1, process)
        first, _ = workers_of(process)
        first.send_signal(signal.SIGKILL)
        output = process.stdout.read()
    assert process.returncode == 0, output
    assert f"{done} of {NUM_SHARDS} shards are there already" in output
    assert len(shards(tmp_path)) == NUM_SHARDS
    check_results(tmp_path)
    assert all(path.stat().st_mtime_ns == before[path] for path in before)


@pytest.mark.slow
def test_failures_are_counted_and_a_missing_server_is_one_line(
    photos, tmp_path
):
    (photos / "bad.jpg").write_text("no photo")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{photos}/00.jpg\n{photos}/bad.jpg\n")
    with start(tmp_path, "--list", listed, workers=1) as process:
        output = process.stdout.read()
    assert process.returncode == 1
    assert "1 of 2 photos failed, report.jsonl in the shards" in output
    assert "Traceback" not in output
    server = ("--server", "localhost:1")
    with start(tmp_path / "other", photos, *server, workers=1) as process:
        output = process.stdout.read()
    assert process.returncode == 1
    lines = [line for line in output.splitlines() if "facegcn:" in line]
    assert len(lines) == 1, output
    assert "localhost:1" in lines[0]
    assert "Traceback" not in output


def test_goes_on_only_with_the_same_run(tmp_path):
    photos = [Path(f"{number}.jpg") for number in range(5)]

    def job(**changes):
        settings = {"weights_sha256": changes.pop("weights", "a")}
        return ShardedJob(
            lambda: None,
            tmp_path / "output",
            changes.pop("formats", ("json",)),
            settings,
            shard_size=changes.pop("shard_size", 2),
        )

    tasks = job().begin(photos)
    assert [task["name"] for task in tasks] == [
        f"shard-0000{number}-of-00003.tar" for number in range(3)
    ]
    assert json.loads(tasks[2]["photos"]) == [["4.jpg", "4"]]
    (tmp_path / "output" / tasks[1]["name"]).touch()
    assert job().begin(photos) == [tasks[0], tasks[2]]
    for name, other in {
        "weights_sha256": job(weights="b"),
        "formats": job(formats=("npz",)),
        "shard_size": job(shard_size=3),
    }.items():
        with pytest.raises(ValueError, match=f"another run.*{name}"):
            other.begin(photos)
    with pytest.raises(ValueError, match=r"another run.*photos"):
        job().begin(photos[:-1])
    (tmp_path / "output" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="notes of a run"):
        job().begin(photos)


def test_clears_away_what_a_killed_process_left(tmp_path):
    job = ShardedJob(lambda: None, tmp_path, ("json",), {})
    stay = {"shard-0-of-2.tar", ".shard-1-of-2.tar.journal"}
    left = {".shard-0-of-2.tar-host-7.partial", ".shard-0-of-2.tar.journal"}
    for name in stay | left:
        (tmp_path / name).touch()
    assert list(job.run([])) == []
    assert {path.name for path in tmp_path.iterdir()} == stay
