"""SyntheticFaces: endless rendered faces with exact labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import CROP_UNITS
from training.data.synthetic_backdrop import Backdrops
from training.data.synthetic_body import BodyParts
from training.data.synthetic_chart import CHART_SIZE, FaceChart
from training.data.synthetic_light import FaceLight
from training.data.synthetic_noise import NoiseBank
from training.data.synthetic_occluder import OccluderScene, draw_occluder
from training.data.synthetic_skin import FaceLook
from training.data.synthetic_surface import FaceSurface, sample_chart
from training.data.vertex_model import VertexModel

Floats = NDArray[np.float64]

# Level of the hierarchy that is rendered: 16,384 vertices of the bundled head.
RENDER_LEVEL = 1

# Yaw is uniform up to this; pitch and roll are normal, cut off; degrees.
_LARGEST_YAW = 90.0
_PITCH_DEVIATION, _LARGEST_PITCH = 11.0, 30.0
_ROLL_DEVIATION, _LARGEST_ROLL = 10.0, 35.0

# Side of the landmarks' crop over that of the picture. The rest is margin for
# the shift, scale and rotation of the augmentation.
_FILLING = (0.66, 0.84)
# How far that crop is shifted, as a share of the margin on each side.
_SHIFT = 0.8

# Probability of an occluder, and of a second one.
OCCLUDER_SHARE = 0.35
_SECOND_OCCLUDER = 0.2

# Mean and deviation of log-exposure, noise of the sensor (0 to 255) and the
# corners' darkening.
_EXPOSURE = (-0.15, 0.25)
_LARGEST_NOISE = 6.0
_LARGEST_VIGNETTE = 0.35

# Share of heads with hair that have long hair.
_LONG_HAIR = 0.4

# How strongly bright light is compressed.
_SHOULDER = 0.4

# Exponent of the reflection of skin (Blinn and Phong).
_GLOSS_EXPONENT = 24


class SyntheticFace(NamedTuple):
    """A rendered face and its labels.

    Attributes:
        image: `(size, size, 3)` uint8 RGB.
        parameters: `(P,)` float32 of the `VertexModel`.
        camera: `(3, 4)` float64 from model space to crop units (1/256ths of
            this picture), z towards the viewer, mean depth 0.
        landmarks: `(68, 3)` float64 crop units: the model's landmark vertices
            under the camera.
        visible: `(V,)` bool, for each vertex of the whole mesh whether it is
            seen: inside the picture, turned to the viewer, in front of the
            rest of the head, and not behind an occluder. Dark glass hides,
            clear glass does not. Hair on the head hides what is behind it, but
            not the scalp that it grows on.
    """

    image: np.ndarray
    parameters: NDArray[np.float32]
    camera: Floats
    landmarks: Floats
    visible: NDArray[np.bool_]


class SyntheticFaces:
    """Renders random faces of a morphable model.

    Identity, expression, pose, light with shadows, colours, hair, background
    and occluders are drawn from a seed. The mesh is a level of the hierarchy,
    whose vertices are vertices of the whole mesh; hair alone stands off it.

    Args:
        vertex_model: What the parameters mean; its first `S + E` are those of
            `face_model`, the rest stay 0.
        face_model: The morphable model with the mesh.
        hierarchy: Levels of that mesh.
        size: Side of the pictures in pixels.
        render_level: Level that is rendered; 1 has 16,384 vertices of the
            bundled head, 2 has 4,096 and is faster.
        occluders: Probability of an occluder.

    Raises:
        ValueError: If the models do not belong together, the level does not
            exist or `size` is too small.
    """

    def __init__(
        self,
        vertex_model: VertexModel,
        face_model: MorphableModel,
        hierarchy: MeshHierarchy,
        size: int = 256,
        render_level: int = RENDER_LEVEL,
        *,
        occluders: float = OCCLUDER_SHARE,
    ) -> None:
        num_drawn = face_model.num_shape + face_model.num_expression
        counts = (len(vertex_model.mean), hierarchy.sizes[0])
        if (
            counts != (face_model.num_vertices,) * 2
            or vertex_model.basis.shape[-1] < num_drawn
        ):
            raise ValueError(
                "Expected a vertex model and a hierarchy of the face model's "
                f"{face_model.num_vertices} vertices and at least {num_drawn} "
                f"parameters. Received: {counts[0]} and {counts[1]} vertices, "
                f"{vertex_model.basis.shape[-1]} parameters"
            )
        if size < 16:
            raise ValueError(
                f"Expected size to be at least 16. Received: size={size}"
            )
        self.size = size
        self.occluders = occluders
        self._face_model = face_model
        self._surface = FaceSurface(hierarchy, render_level)
        kept = self._surface.kept
        self._model = vertex_model.subset(
            np.concatenate([kept, vertex_model.landmarks])
        )
        self._num_parameters = vertex_model.basis.shape[-1]
        self._noise = NoiseBank()
        self._chart = FaceChart.of_model(face_model, self._noise.tiles[1:3])
        self._places = self._chart.coordinates[kept]
        self._hair = sample_chart(self._chart.fields[0], self._places)[:, 0]
        self._scalp = np.flatnonzero(self._hair > 0)
        self._backdrops = Backdrops(self._noise)
        across = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        self._corners = (across + across[:, None])[..., None] / 2

    def face(self, seed: Sequence[int]) -> SyntheticFace:
        """Renders the face of a seed.

        Args:
            seed: Integers, as `numpy.random.default_rng` takes them; the same
                seed gives the same face, bit for bit.
        """
        generator = np.random.default_rng(seed)
        parameters = self._draw_parameters(generator)
        vertices = self._model.vertices(parameters[None])[0]
        kept, landmarks = vertices[:-68], vertices[-68:]
        camera = _draw_camera(landmarks, generator)
        camera[2, 3] = self._model.centered(parameters[None], camera[None])[
            0, 2, 3
        ]
        image, visible = self._draw(kept, landmarks, camera, generator)
        return SyntheticFace(
            image, parameters, camera, project(landmarks, camera), visible
        )

    def _draw_parameters(
        self, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        shape, expression = self._face_model.sample(generator)
        parameters = np.zeros(self._num_parameters, np.float32)
        parameters[: len(shape)] = shape
        parameters[len(shape) : len(shape) + len(expression)] = expression
        return parameters

    def _draw(
        self,
        vertices: NDArray[np.float32],
        landmarks: NDArray[np.float32],
        camera: Floats,
        generator: np.random.Generator,
    ) -> tuple[np.ndarray, NDArray[np.bool_]]:
        """Draws the picture and finds which vertices it shows."""
        size, surface = self.size, self._surface
        pixels = _in_pixels(camera, size)
        look = FaceLook.draw(generator, len(self._chart.strands))
        light = FaceLight.draw(generator)
        unit = self._chart.unit
        scene = OccluderScene(
            project(landmarks, pixels),
            pixels,
            unit,
            (look.hair * 255).astype(np.uint8),
            self._noise.cut(2, size, generator),
            float(generator.uniform(0.45, 1)),
        )
        thickness = look.thickness(
            self._hair[self._scalp], self._noise, self._places[self._scalp]
        )
        hairy = self._scalp[thickness > 0]
        # Hair alone stands off the face: the rest is where its label says.
        raised = vertices.copy()
        raised[hairy] += (
            np.float32(unit) * thickness[thickness > 0, None]
        ) * surface.mean_normals[hairy]
        positions = project(raised, pixels).astype(np.float32)
        normals, front = surface.normals(positions)
        picture = self._draw_backdrop(scene, positions[hairy], look, generator)
        depth = self._draw_head(
            picture, positions, normals, front, look, light, generator
        )
        cover = np.zeros((size, size), np.uint8)
        if generator.random() < self.occluders:
            for _ in range(1 + (generator.random() < _SECOND_OCCLUDER)):
                picture, covered = draw_occluder(picture, scene, generator)
                cover = np.maximum(cover, covered)
        visible = surface.visible(positions, normals, depth, cover)
        return self._photograph(picture, generator), visible

    def _draw_backdrop(
        self,
        scene: OccluderScene,
        scalp: NDArray[np.float32],
        look: FaceLook,
        generator: np.random.Generator,
    ) -> np.ndarray:
        picture = self._backdrops.draw(self.size, generator)
        body = BodyParts(
            scene.camera, scene.unit, scene.brightness, scene.texture
        )
        long_hair = generator.random() < _LONG_HAIR
        before = generator.random() < 0.5
        if before:
            body.draw_shoulders(picture, generator)
        if long_hair and len(scalp):
            body.draw_hair(picture, scalp, look.hair * 255, generator)
        if not before:
            body.draw_shoulders(picture, generator)
        return picture

    def _draw_head(
        self,
        picture: np.ndarray,
        positions: NDArray[np.float32],
        normals: NDArray[np.float32],
        front: NDArray[np.bool_],
        look: FaceLook,
        light: FaceLight,
        generator: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Draws the head onto a picture; returns its depth."""
        surface = self._surface
        cosine = normals @ light.direction.astype(np.float32)
        raster = surface.render(
            positions,
            front,
            np.concatenate(
                [self._places / CHART_SIZE, cosine[:, None] / 2 + 0.5], axis=1
            ),
            self.size,
        )
        chosen = np.flatnonzero(raster.mask)
        rows, columns = np.divmod(chosen, self.size)
        attributes = raster.colors.reshape(-1, 3)[chosen]
        points = np.empty((len(chosen), 3), np.float32)
        points[:, 0], points[:, 1] = columns, rows
        points[:, 2] = raster.depth.ravel()[chosen]
        lit = np.clip(2 * attributes[:, 2] - 1, 0, 1)
        if light.color.any():
            lit *= self._soften(
                surface.shadow(positions, points, light.direction),
                chosen,
                light.softness,
            )
        arriving, glossy = self._soft_light(
            positions, normals[surface.coarse], light, chosen
        )
        arriving += light.color[:, None].astype(np.float32) * lit
        exposure = np.exp(generator.normal(*_EXPOSURE)) / arriving.mean()
        albedo = look.paint(
            self._chart, self._noise, attributes[:, :2] * CHART_SIZE
        )
        glossy = glossy * lit * np.float32(light.gloss)
        # Colours are squared for linear light, and back: gamma 2.
        linear = np.square(albedo, out=albedo)
        linear *= arriving
        linear += glossy
        linear *= np.float32(exposure)
        # Film's shoulder: bright skin keeps its shading.
        linear /= 1 + np.float32(_SHOULDER) * linear
        linear *= np.float32((1 + _SHOULDER / 2) * 255**2)
        np.minimum(linear, np.float32(255**2), out=linear)
        values = np.sqrt(linear, out=linear)
        picture.reshape(-1, 3)[chosen] = values.T.astype(np.uint8)
        _smooth_rim(picture, raster.mask)
        return raster.depth

    def _soft_light(
        self,
        positions: NDArray[np.float32],
        normals: NDArray[np.float32],
        light: FaceLight,
        chosen: NDArray[np.intp],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Light of the environments `(3, n)` and the gloss `(n,)`."""
        irradiance = light.irradiance(normals)
        irradiance *= self._surface.openness[:, None]
        peak = irradiance.max()
        halfway = light.direction + np.array([0.0, 0.0, 1.0])
        halfway /= np.linalg.norm(halfway)
        gloss = np.maximum(normals @ halfway, 0) ** _GLOSS_EXPONENT
        colors = np.concatenate([irradiance / peak, gloss[:, None]], axis=1)
        soft = self._surface.render_soft(positions, colors, self.size)
        first, second, glossy = soft.reshape(-1, 3)[chosen].T
        tints = (peak * light.environment_colors).astype(np.float32)
        return tints[0][:, None] * first + tints[1][:, None] * second, glossy

    def _soften(
        self,
        shadow: NDArray[np.float32],
        chosen: NDArray[np.intp],
        softness: float,
    ) -> NDArray[np.float32]:
        """Blurs the shadow's edges in the picture."""
        picture = np.ones((self.size, self.size), np.float32)
        picture.ravel()[chosen] = shadow
        width = 2 * round(softness * self.size / 64) + 3
        blurred = np.asarray(cv2.blur(picture, (width, width)), np.float32)
        return blurred.ravel()[chosen]

    def _photograph(
        self, picture: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Adds the faults of a lens and a sensor."""
        vignette = generator.uniform(0, _LARGEST_VIGNETTE) ** 2
        noise = generator.uniform(0, _LARGEST_NOISE) ** 2 / _LARGEST_NOISE
        gains = generator.uniform(0.92, 1.08, 3).astype(np.float32)
        fall = 1 - np.float32(vignette) * self._corners[..., 0]
        taken = cv2.multiply(
            picture,
            cv2.merge([gain * fall for gain in gains]),
            dtype=cv2.CV_32F,
        )
        sensor = self._noise.cut_sensor(self.size, generator)
        # Rounds and saturates in one go.
        return cv2.addWeighted(
            taken,
            1.0,
            np.ascontiguousarray(sensor),
            noise,
            0.0,
            dtype=cv2.CV_8U,
        )


def _draw_camera(
    landmarks: NDArray[np.float32], generator: np.random.Generator
) -> Floats:
    """A camera whose picture holds the landmarks' crop, in crop units."""
    yaw = generator.uniform(-_LARGEST_YAW, _LARGEST_YAW)
    pitch, roll = (
        np.clip(generator.normal(0, deviation), -largest, largest)
        for deviation, largest in (
            (_PITCH_DEVIATION, _LARGEST_PITCH),
            (_ROLL_DEVIATION, _LARGEST_ROLL),
        )
    )
    camera = compose_camera(1.0, yaw, pitch, roll, np.zeros(3))
    box = BoundingBox.from_points(project(landmarks, camera)).landmarks_crop()
    filling = generator.uniform(*_FILLING)
    scale = filling * CROP_UNITS / box.width
    margin = _SHIFT * (1 - filling) / 2 * CROP_UNITS
    shift = generator.uniform(-margin, margin, 2)
    # Box edges lie half a unit beside the coordinates of points.
    center = np.array(box.center) - 0.5
    camera[:, :3] *= scale
    camera[:2, 3] = CROP_UNITS / 2 - 0.5 + shift - scale * center
    return camera


def _in_pixels(camera: Floats, size: int) -> Floats:
    """The same camera to pixels of the picture."""
    scale = size / CROP_UNITS
    pixels = camera * scale
    pixels[:2, 3] += 0.5 * scale - 0.5
    return pixels


def _smooth_rim(picture: np.ndarray, mask: NDArray[np.bool_]) -> None:
    """Blurs a picture along the silhouette, in place."""
    covered = mask.astype(np.uint8)
    rim = cv2.morphologyEx(
        covered, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    cv2.copyTo(cv2.GaussianBlur(picture, (3, 3), 0), rim, picture)
