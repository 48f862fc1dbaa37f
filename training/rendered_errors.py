"""How far networks are from rendered faces, whose depth is exact.

python -m training.rendered_errors lite lite_synthetic

The faces are other ones than any training's. They are the bundled head's, with
the head's own landmarks; labels of photos move those a little, so a network
that was trained on photos cannot come as near as one that was not. Depth is
what photos have no exact label of.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import decompose_camera
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.config import get_config
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.scores import landmark_errors, summarize, without_mean_depth
from training.training_data import load_training_data

Floats = NDArray[np.float64]

# A face of a training has a seed that is shorter, or begins with its
# configuration's.
_SEED = (777, 777)
_BATCH_SIZE = 50
# Crops of a second pass, of a camera's usual quality.
_AUGMENTATION = Augmentation(
    rotation=30.0, second_pass=1.0, color=0.8, blur=0.25, noise=0.1, jpeg=0.1
)


class RenderedFaces(NamedTuple):
    """Crops of rendered faces.

    Attributes:
        images: `(n, size, size, 3)` uint8.
        landmarks: `(n, 68, 3)` in 1/256ths of the crop.
        yaw: `(n,)` absolute yaw in degrees.
    """

    images: NDArray[np.uint8]
    landmarks: Floats
    yaw: Floats


def render(model: FaceGCN, count: int) -> RenderedFaces:
    """Renders faces for a network, the same for every network of its input.

    Args:
        model: A network on the bundled head.
        count: How many faces.

    Raises:
        ValueError: If the network is on another mesh.
    """
    head = MorphableModel.bundled()
    if not np.array_equal(model.landmarks, head.landmarks):
        raise ValueError(
            "Expected a network on the bundled head, of which the faces are "
            f"rendered. Received: a network on the mesh {model.fingerprint}"
        )
    config = dataclasses.replace(
        get_config("lite_synthetic"),
        keep_synthetic=False,
        num_synthetic=count,
        num_validation=1,
    )
    data = load_training_data(
        config, None, head, model.hierarchy, model.input_size
    )
    loader = BatchLoader(
        data.training,
        data.vertex_model.subset(head.landmarks),
        _AUGMENTATION,
        model.input_size,
    )
    images, landmarks, yaw = [], [], []
    for start in range(0, count, _BATCH_SIZE):
        indices = np.arange(start, min(start + _BATCH_SIZE, count))
        seeds = [(*_SEED, int(index), 1) for index in indices]
        batch = loader.load(indices, seeds)
        images.append(batch.images)
        landmarks.append(loader.vertices(batch).astype(np.float64))
        yaw.append(np.abs(decompose_camera(batch.cameras).yaw))
    return RenderedFaces(
        np.concatenate(images), np.concatenate(landmarks), np.concatenate(yaw)
    )


def rendered_errors(model: FaceGCN, faces: RenderedFaces) -> dict[str, Floats]:
    """Measures a network.

    Args:
        model: A network on the bundled head.
        faces: What `render` made for it.

    Returns:
        `"2D-68"`, `"3D-68"` (mean z removed) and `"depth"` (mean distance in z
        alone), each `(n,)` in % of `sqrt(w * h)` of the landmarks' box.
    """
    images = faces.images
    found = np.concatenate(
        [
            np.asarray(
                model.predict_on_batch(images[start : start + _BATCH_SIZE])
            )[:, model.landmarks]
            for start in range(0, len(images), _BATCH_SIZE)
        ]
    ).astype(np.float64)
    truth, box = faces.landmarks, faces.landmarks[..., :2]
    truth, found = without_mean_depth(truth), without_mean_depth(found)
    return {
        "2D-68": landmark_errors(box, found[..., :2]),
        "3D-68": landmark_errors(truth, found, box),
        "depth": landmark_errors(truth[..., 2:], found[..., 2:], box),
    }


def main(
    weights: Annotated[
        list[str], typer.Argument(help="Networks on the bundled head.")
    ],
    num_faces: Annotated[
        int, typer.Option(min=1, help="How many faces to render.")
    ] = 1000,
) -> None:
    """Prints a table of errors by yaw."""
    faces: dict[int, RenderedFaces] = {}
    typer.echo(
        f"{'':<36}{'0-30':>7}{'30-60':>7}{'60-90':>7}{'bins':>7}{'mean':>7}"
    )
    for name in weights:
        model = load_model(name)
        size = model.input_size
        if size not in faces:
            faces[size] = render(model, num_faces)
        for kind, errors in rendered_errors(model, faces[size]).items():
            summary = summarize(errors, faces[size].yaw)
            row = [*summary["bins"], summary["mean_of_bins"], summary["mean"]]
            typer.echo(
                f"{f'{name}, {kind}':<36}"
                + "".join(
                    f"{'-':>7}" if value is None else f"{value:7.2f}"
                    for value in row
                )
            )


if __name__ == "__main__":
    typer.run(main)
