"""ShardedJob: long lists of photos, on several processes or machines.

The engine is Ray Data: it keeps a pool of processes, here or on a cluster,
each with its network, hands them work as they become free, and starts anew
those that end, with what they were doing. Apache Beam, the other candidate,
does not install beside TensorFlow 2.21's gRPC stack: it asks for protobuf
before 7.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.predictor import Predictor
from tf_facegcn.shard_worker import ShardReport, ShardTask, ShardWorker
from tf_facegcn.writers.file_batch import FileBatch
from tf_facegcn.writers.result_files import result_stems

RUN_FILE = "run.json"
# Rows are paths; Ray would take a third of the memory for them.
_OBJECT_STORE_BYTES = 256 << 20


@dataclass(frozen=True)
class ShardedJob:
    """Predicts a list of photos in shards, one file each.

    A run that was interrupted goes on when it is asked for again: shards that
    are there are not done again. A photo that fails is a line in its shard's
    report and does not stop anything.

    Args:
        make_predictor: Makes a worker's predictor; must be picklable.
        output: Folder of the results. On a cluster, all machines see it and
            the photos under the same paths.
        formats: Names of formats, see `write_results`.
        settings: What else the results depend on, such as the weights, in
            values that JSON takes. Noted in `run.json`; a run with others does
            not go on with this folder's.
        boxes: Where the faces are in each photo; `None` to detect them.
        shard_size: Photos of a shard.
        num_workers: Processes, of one core each.
        ray_address: Of a Ray cluster, for example `"auto"`; `None` to use
            this machine alone.
    """

    make_predictor: Callable[[], Predictor]
    output: Path
    formats: Sequence[str]
    settings: Mapping[str, Any]
    boxes: Sequence[BoundingBox] | None = None
    shard_size: int = 1000
    num_workers: int = 2
    ray_address: str | None = None

    def begin(self, photos: Sequence[Path]) -> list[ShardTask]:
        """Notes what is to be done, or reads what was begun.

        Args:
            photos: Paths of all photos.

        Returns:
            The shards that are not there yet.

        Raises:
            ValueError: If another run was begun in the folder.
            OSError: If the folder does not take a file.
        """
        names = [os.fspath(photo) for photo in photos]
        digest = hashlib.sha256(
            "\0".join(names).encode("utf-8", "surrogateescape")
        )
        run = {
            "photos": len(names),
            "photos_sha256": digest.hexdigest(),
            "shard_size": self.shard_size,
            "formats": list(self.formats),
            **self.settings,
        }
        self.output.mkdir(parents=True, exist_ok=True)
        file = self.output / RUN_FILE
        if file.exists():
            _check_same(file, run)
        else:
            with FileBatch() as batch:
                text = json.dumps(run, indent=2) + "\n"
                batch.write(file, text.encode())
        stems = result_stems(photos)
        starts = range(0, len(names), self.shard_size)
        tasks = []
        for number, start in enumerate(starts):
            name = f"shard-{number:05d}-of-{len(starts):05d}.tar"
            if not (self.output / name).exists():
                part = slice(start, start + self.shard_size)
                pairs = list(zip(names[part], stems[part], strict=True))
                tasks.append(ShardTask(name=name, photos=json.dumps(pairs)))
        return tasks

    def run(self, tasks: Sequence[ShardTask]) -> Iterator[ShardReport]:
        """Predicts shards.

        Args:
            tasks: Some that `begin` gave.

        Yields:
            What became of each, as they are done, in any order.

        Raises:
            ValueError: If Ray is not installed.
            OSError: If the output folder does not take a shard, or the
                cluster is not reached.
        """
        if tasks:
            yield from self._predict(tasks)
        # A process that was killed leaves a part of a shard and its notes,
        # beside the shard once another has made it.
        for shard in self.output.glob("shard-*.tar"):
            for path in self.output.glob(f".{shard.name}*"):
                path.unlink(missing_ok=True)

    def _predict(self, tasks: Sequence[ShardTask]) -> Iterator[ShardReport]:
        with self._ray() as ray:
            data = ray.data
            context = data.DataContext.get_current()
            context.enable_progress_bars = False
            rows = data.from_items(
                [dict(task) for task in tasks], override_num_blocks=len(tasks)
            )
            workers = min(self.num_workers, len(tasks))
            reports = rows.map(
                ShardWorker,
                fn_constructor_args=(
                    self.make_predictor,
                    Path.cwd(),
                    self.output.absolute(),
                    tuple(self.formats),
                    self.boxes,
                ),
                # Ray Data starts a process that ended again, and its shard
                # with it, without end; the worker leaves out what ended it.
                compute=data.ActorPoolStrategy(size=workers),
                num_cpus=1,
            )
            yield from reports.iter_rows()

    @contextlib.contextmanager
    def _ray(self) -> Iterator[Any]:
        # Nothing is sent to anyone.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ValueError(
                f"--workers needs Ray Data ({error}): pip install 'ray[data]'"
            ) from error
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        local: dict[str, Any] = {
            "num_cpus": self.num_workers,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
        try:
            ray.init(
                address=self.ray_address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                **({} if self.ray_address else local),
            )
        except ConnectionError as error:
            raise ConnectionError(
                f"--ray {self.ray_address}: no Ray cluster there ({error})"
            ) from error
        try:
            yield ray
        except ray.exceptions.RayTaskError as error:
            # What a worker raised.
            cause = getattr(error, "cause", None)
            if isinstance(cause, (OSError, ValueError)):
                raise cause from error
            raise
        finally:
            ray.shutdown()


def _check_same(file: Path, run: Mapping[str, Any]) -> None:
    try:
        before = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(
            f"{file}: expected the notes of a run. Received something else "
            f"({error}). Name another folder"
        ) from error
    changed = sorted(
        name
        for name in {*before, *run}
        if before.get(name) != json.loads(json.dumps(run.get(name)))
    )
    if changed:
        name = changed[0]
        raise ValueError(
            f"{file.parent}: another run was begun in this folder, with "
            f"{name} {json.dumps(before.get(name))} instead of "
            f"{json.dumps(run.get(name))}. Repeat that one or name another "
            "folder"
        )
