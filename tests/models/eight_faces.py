"""Eight faces with their meshes, to fit a network to."""

import numpy as np

from tests.real_data import find_real_data
from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.imaging.rasterizer import render_mesh, vertex_normals
from tf_facegcn.models.frontal_template import (
    CROP_CENTER,
    CROP_UNITS,
    frontal_template,
)
from training.data.aflw_crops import AflwCrops
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.data.photo_source import PhotoSource
from training.data.validation_steps import ValidationSteps
from training.data.vertex_model import VertexModel
from training.fit_labels import fit_labels

COUNT = 8
# Photos that the labels of eight are fitted with: their errors in common are
# estimated of all.
_NUM_FITTED = 200
_LIGHT = np.array([0.3, -0.5, 0.81])
_SKIN = np.array([0.9, 0.7, 0.6])


def eight_faces(size):
    """Returns eight photos and meshes: real ones where they are at hand.

    Args:
        size: Side of the photos.

    Returns:
        `(8, size, size, 3)` uint8 and `(8, V, 3)` float32 in crop units.
    """
    folder = find_real_data()
    return real_faces(folder, size) if folder else rendered_faces(size)


def real_faces(folder, size):
    """Reads eight photos and fits the bundled head to them."""
    crops = AflwCrops.load(folder)
    some = AflwCrops(*(field[:_NUM_FITTED] for field in crops[:-1]), "some")
    head = MorphableModel.bundled()
    labels, _ = fit_labels(some, head)
    vertex_model = VertexModel.of_labels(
        head, labels.displacement_mean, labels.displacement_components
    )
    source = PhotoSource.of_photos(some, labels)
    loader = BatchLoader(source, vertex_model, Augmentation(), size)
    return loader.load_with_vertices(*ValidationSteps(COUNT, COUNT).step(0))


def rendered_faces(size):
    """Renders eight heads of various shapes, expressions and poses."""
    head = MorphableModel.bundled()
    generator = np.random.default_rng(0)
    expressions = generator.uniform(0.0, 0.5, (COUNT, head.num_expression))
    # Few at a time, as in a face.
    expressions *= generator.random(expressions.shape) < 0.2
    shapes = generator.normal(size=(COUNT, head.num_shape))
    template = head.template.vertices
    placed = frontal_template(template, head.landmarks)
    scale = np.ptp(placed[:, 0]) / np.ptp(template[:, 0])
    cameras = compose_camera(
        scale * generator.uniform(0.9, 1.1, COUNT),
        np.linspace(-45.0, 45.0, COUNT),
        generator.uniform(-15.0, 15.0, COUNT),
        generator.uniform(-20.0, 20.0, COUNT),
        np.zeros((COUNT, 3)),
    )
    vertices = project(head.vertices(shapes, expressions), cameras)
    landmarks = vertices[:, head.landmarks, :2]
    middle = (landmarks.min(axis=1) + landmarks.max(axis=1)) / 2
    vertices[..., :2] += CROP_CENTER - middle[:, None]
    vertices[..., 2] -= vertices[..., 2].mean(axis=1, keepdims=True)
    photos = [_render(mesh, head.faces, size) for mesh in vertices]
    return np.stack(photos), vertices.astype("float32")


def _render(vertices, faces, size):
    scale = size / CROP_UNITS
    pixels = vertices * scale
    pixels[:, :2] += (scale - 1) / 2  # Pixel centres are whole numbers.
    light = 0.25 + 0.75 * vertex_normals(pixels, faces) @ _LIGHT
    colors = np.clip(light, 0.0, 1.0)[:, None] * _SKIN
    picture = render_mesh(pixels, faces, size, size, colors.astype("float32"))
    photo = np.where(picture.mask[..., None], picture.colors, 0.3)
    return (255 * photo).astype("uint8")
