"""A face model of 642 vertices and photos of its faces, in the real formats."""

import cv2
import numpy as np
import scipy.io

from tests.geometry.meshes import make_icosphere
from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.geometry.morphable_model import MorphableModel
from training.data.aflw_crops import CROP_SIZE
from training.data.landmark_mirror import LANDMARK_MIRROR
from training.teacher_correction import human_point_matrix

# Half extents of the miniature's ellipsoid, mm.
RADII = np.array([75.0, 95.0, 70.0])

# The crop's units over its pixels.
UNITS_PER_PIXEL = 256 / CROP_SIZE


def make_miniature_model():
    """Makes a symmetric model: 4 identity, 2 expression components."""
    sphere = make_icosphere(3)
    points = np.asarray(sphere.vertices)
    distances = np.linalg.norm(
        points[:, None] * [-1, 1, 1] - points[None], axis=-1
    )
    mirror = distances.argmin(axis=1).astype(np.int32)
    x, y, z = points.T
    # Smooth displacements: wider, longer, a skewed chin, fuller cheeks; an
    # open jaw and a raised brow.
    zero = np.zeros_like(x)
    shapes = [
        np.stack([x, zero, zero], axis=1),
        np.stack([zero, y, zero], axis=1),
        np.stack([np.minimum(y, 0), zero, zero], axis=1),
        np.stack([x * z, zero, z * z], axis=1),
    ]
    expressions = [
        np.stack([zero, -(np.maximum(-y, 0) ** 2), zero], axis=1),
        np.stack([zero, np.maximum(y, 0) ** 2, zero], axis=1),
    ]
    return MorphableModel(
        mean=(points * RADII).astype(np.float32),
        shape_basis=(5 * np.stack(shapes, axis=-1)).astype(np.float32),
        expression_basis=(15 * np.stack(expressions, axis=-1)).astype(
            np.float32
        ),
        faces=sphere.faces,
        landmarks=_symmetric_landmarks(points, mirror),
        mirror=mirror,
        name="miniature",
    )


def _symmetric_landmarks(points, mirror):
    front = points[:, 2] > -0.2
    own = np.flatnonzero(front & (mirror == np.arange(len(mirror))))
    right = np.flatnonzero(front & (points[:, 0] > 0.05))
    pairs = np.linspace(0, len(right) - 1, 29).astype(int)
    landmarks = np.full(68, -1, np.int32)
    self_mirrored = np.flatnonzero(np.arange(68) == LANDMARK_MIRROR)
    spread = np.linspace(0, len(own) - 1, len(self_mirrored)).astype(int)
    landmarks[self_mirrored] = own[spread]
    left_of_pairs = [k for k in range(68) if k < LANDMARK_MIRROR[k]]
    for landmark, vertex in zip(left_of_pairs, right[pairs], strict=True):
        landmarks[landmark] = vertex
        landmarks[LANDMARK_MIRROR[landmark]] = mirror[vertex]
    return landmarks


def make_faces(model, count, seed=0, largest_yaw=70):
    """Draws faces: `(count, 68, 3)` landmarks and their cameras, crop units."""
    generator = np.random.default_rng(seed)
    shapes = generator.normal(size=(count, 4))
    expressions = generator.uniform(0, 1, (count, 2))
    cameras = compose_camera(
        generator.uniform(0.8, 0.95, count),
        generator.uniform(-largest_yaw, largest_yaw, count),
        generator.uniform(-15, 15, count),
        generator.uniform(-20, 20, count),
        generator.uniform(-4, 4, (count, 3)) + np.array([127.5, 127.5, 0.0]),
    )
    vertices = model.vertices(shapes, expressions)
    return project(vertices[:, model.landmarks], cameras), cameras


def draw_face(landmarks, size=CROP_SIZE):
    """Draws a dot of its own colour at each landmark, given in crop units."""
    image = np.full((size, size, 3), 30, np.uint8)
    for number, (x, y) in enumerate(landmarks[:, :2]):
        # OpenCV's fixed point: 4 bits are 1/16 of a pixel.
        center = [
            round(((value + 0.5) * size / 256 - 0.5) * 16) for value in (x, y)
        ]
        color = (255 - 3 * number, 60 + 2 * number, 100 + number % 100)
        cv2.circle(image, center, 24, color, -1, cv2.LINE_AA, shift=4)
    return image


def write_crops(folder, model, count, seed=0):
    """Writes `aflw_crops_0.npz`; returns the true landmarks, crop units."""
    landmarks, cameras = make_faces(model, count, seed)
    pixels = landmarks.copy()
    pixels[..., :2] = (pixels[..., :2] + 0.5) / UNITS_PER_PIXEL - 0.5
    pixels[..., 2] /= UNITS_PER_PIXEL
    human = human_point_matrix() @ pixels[..., :2]
    generator = np.random.default_rng(seed + 1)
    human[generator.random(human.shape[:2]) < 0.2] = np.nan
    encoded = [
        cv2.imencode(".png", draw_face(face)[..., ::-1])[1].tobytes()
        for face in landmarks
    ]
    rotation = cameras[:, :, :3] / np.cbrt(
        -np.linalg.det(cameras[:, :, :3])
    ).reshape(-1, 1, 1)
    np.savez(
        folder / "aflw_crops_0.npz",
        jpeg=np.frombuffer(b"".join(encoded), np.uint8),
        offsets=np.cumsum([0, *map(len, encoded)]),
        names=np.array([f"photo{i}.jpg" for i in range(count)]),
        landmarks21=human.astype(np.float32),
        teacher_landmarks68=(pixels + np.array([0, 0, 17])).astype(np.float32),
        yaw=np.degrees(np.arcsin(-rotation[:, 2, 0])).astype(np.float32),
    )
    return landmarks


def write_aflw2000(folder, landmarks, yaw, pitch=0, roll=0):
    """Writes photos and `.mat` files in the layout of AFLW2000-3D."""
    for number, (face, angle) in enumerate(zip(landmarks, yaw, strict=True)):
        name = f"image{number:05d}"
        cv2.imwrite(str(folder / f"{name}.jpg"), draw_face(face, 256))
        scipy.io.savemat(
            folder / f"{name}.mat",
            {
                "pt3d_68": face.T,
                "Pose_Para": np.radians([[pitch, angle, roll, 0, 0, 0, 0]]),
            },
        )
