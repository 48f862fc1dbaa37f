import functools
import shutil
import threading
import time
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.model_manager import ModelManager, RetryPolicy
from serving.model_versions import (
    VersionPolicy,
    stored_versions,
    wanted_versions,
)
from serving.serving_error import ServingError

State = get_model_status_pb2.ModelVersionStatus.State
POLL = 0.01


class FakeModel:
    def __init__(self, folder):
        self.folder = folder
        self.closed = False

    def close(self):
        self.closed = True


class FakeLoader:
    """Loads whatever has no file `broken`."""

    def __init__(self):
        self.loaded = []

    def __call__(self, name, folder):
        if (folder / "broken").exists():
            raise ValueError(f"{folder}: broken")
        self.loaded.append(FakeModel(folder))
        return self.loaded[-1]


@pytest.fixture
def base(tmp_path):
    (tmp_path / "model" / "1").mkdir(parents=True)
    return tmp_path / "model"


def config_of(base, name="model", **labels):
    found = ModelConfig(name=name, base_path=str(base))
    for label, version in labels.items():
        found.version_labels[label] = version
    return found


@pytest.fixture
def start():
    started = []

    def start_manager(*configs, **options):
        loader = FakeLoader()
        manager = ModelManager(
            configs, loader, **{"poll_seconds": POLL, **options}
        )
        manager.start()
        started.append(manager)
        return manager, loader

    yield start_manager
    for manager in started:
        manager.close()


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "It never became so"
        time.sleep(0.005)


def states(manager, name="model"):
    try:
        found = manager.statuses(name)
    except ServingError:
        return {}
    return {version: status.state for version, status in found.items()}


def is_available(manager, version):
    return states(manager).get(version) == State.AVAILABLE


def version_in_use(manager, **choice):
    with manager.use("model", **choice) as (_, version):
        return version


def test_a_new_version_replaces_the_old_when_it_is_ready(base, start):
    manager, loader = start(config_of(base))
    assert manager.wait_until_ready(10)
    assert version_in_use(manager) == 1
    (base / "2").mkdir()
    wait_for(lambda: states(manager) == {2: State.AVAILABLE, 1: State.END})
    assert version_in_use(manager) == 2
    assert [model.closed for model in loader.loaded] == [True, False]


def test_a_version_is_held_until_its_last_request_ends(base, start):
    manager, loader = start(config_of(base))
    assert manager.wait_until_ready(10)
    with manager.use("model") as (model, version):
        (base / "2").mkdir()
        wait_for(lambda: states(manager).get(1) == State.UNLOADING)
        assert version == 1
        assert not model.closed
        assert version_in_use(manager) == 2
    wait_for(lambda: states(manager)[1] == State.END)
    assert loader.loaded[0].closed


def test_a_broken_version_leaves_the_old_one(base, start):
    retry = RetryPolicy(num_retries=2, interval=0.02)
    manager, _ = start(config_of(base), retry=retry)
    assert manager.wait_until_ready(10)
    ok = manager.statuses("model")[1]
    (base / ".2").mkdir()
    (base / ".2" / "broken").touch()
    (base / ".2").rename(base / "2")
    wait_for(lambda: manager.statuses("model").get(2, ok).message)
    status = manager.statuses("model", 2)[2]
    assert status.state == State.LOADING  # It is tried again.
    assert status.code is grpc.StatusCode.UNKNOWN
    assert "broken" in status.message
    assert version_in_use(manager) == 1
    # Mended before its retries are used up, it is taken.
    (base / "2" / "broken").unlink()
    wait_for(lambda: states(manager).get(2) == State.AVAILABLE)


def test_gives_a_broken_version_up(base, start):
    (base / "1" / "broken").touch()
    retry = RetryPolicy(num_retries=1, interval=0.0)
    manager, loader = start(config_of(base), retry=retry)
    wait_for(lambda: states(manager) == {1: State.END})
    time.sleep(10 * POLL)
    (base / "1" / "broken").unlink()
    time.sleep(10 * POLL)
    assert not loader.loaded
    assert not manager.is_ready


def test_a_vanished_folder_does_not_end_what_works(base, start):
    manager, _ = start(config_of(base))
    assert manager.wait_until_ready(10)
    shutil.rmtree(base)
    time.sleep(10 * POLL)
    assert version_in_use(manager) == 1


def test_labels_follow_the_configuration(base, start):
    (base / "2").mkdir()
    config = config_of(base, stable=1)
    config.model_version_policy.all.SetInParent()
    manager, _ = start(config)
    wait_for(lambda: states(manager) == {1: 30, 2: 30})
    assert version_in_use(manager, label="stable") == 1
    config.version_labels["stable"] = 2
    config.version_labels["canary"] = 1
    manager.replace([config])
    assert version_in_use(manager, label="stable") == 2
    assert version_in_use(manager, label="canary") == 1
    config.version_labels["next"] = 3
    with pytest.raises(ServingError, match="not currently available") as caught:
        manager.replace([config])
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(ServingError, match="version label: next"):
        version_in_use(manager, label="next")


def test_models_come_and_go_by_a_new_configuration(base, tmp_path, start):
    manager, loader = start(config_of(base))
    assert manager.wait_until_ready(10)
    (tmp_path / "other" / "5").mkdir(parents=True)
    other = config_of(tmp_path / "other", "other")
    manager.replace([config_of(base), other])
    assert states(manager, "other") == {5: State.AVAILABLE}
    assert not loader.loaded[0].closed  # It stayed.
    manager.replace([other])
    with pytest.raises(ServingError, match=r"Latest\(model\)"):
        version_in_use(manager)
    assert loader.loaded[0].closed
    with pytest.raises(ServingError, match="each model once"):
        manager.replace([other, other])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(name="m"), "name and a base_path"),
        (ModelConfig(base_path="b"), "name and a base_path"),
        (
            ModelConfig(name="m", base_path="b", model_platform="caffe"),
            "model_platform",
        ),
    ],
)
def test_refuses_wrong_configurations(config, message):
    with pytest.raises(ValueError, match=message):
        ModelManager([config])


def test_no_request_fails_while_versions_change(base, start):
    manager, loader = start(config_of(base))
    assert manager.wait_until_ready(10)
    ended, failures, seen = threading.Event(), [], set()

    def ask():
        while not ended.is_set():
            try:
                with manager.use("model") as (model, version):
                    if model.closed:
                        failures.append(version)
                    seen.add(version)
                time.sleep(0.0005)  # Threads that spin starve the others.
            except ServingError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 22):
            (base / str(version)).mkdir()
            wait_for(functools.partial(is_available, manager, version))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert {2, 21} <= seen | {version_in_use(manager)}
    wait_for(lambda: sum(not each.closed for each in loader.loaded) == 1)


@given(
    stored=st.sets(st.integers(1, 50)),
    specific=st.sets(st.integers(1, 50)),
    count=st.integers(0, 60),
)
def test_policies(stored, specific, count):
    assert wanted_versions(stored, VersionPolicy()) == set(sorted(stored)[-1:])
    latest = VersionPolicy()
    latest.latest.num_versions = count
    newest = set(sorted(stored)[-max(count, 1) :])
    assert wanted_versions(stored, latest) == newest
    everything = VersionPolicy()
    everything.all.SetInParent()
    assert wanted_versions(stored, everything) == stored
    chosen = VersionPolicy()
    chosen.specific.versions.extend(specific)
    assert wanted_versions(stored, chosen) == stored & specific


def test_only_folders_named_by_numbers_are_versions(tmp_path):
    for name in ("1", "0020", "3a", "-4", ".export-x", "٣", "9" * 19):
        (tmp_path / name).mkdir()
    (tmp_path / "7").touch()
    assert stored_versions(tmp_path) == {
        1: tmp_path / "1",
        20: tmp_path / "0020",
    }
    assert stored_versions(Path("/nowhere/at/all")) == {}
