import numpy as np
import pytest

from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.head_pose import HeadPose

POINTS = np.random.default_rng(0).normal(0, 60, (50, 3))


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (80, 0, 0), (-35, 20, -15), (10, -40, 170)]
)
def test_finds_the_angles_of_a_turned_head(angles):
    camera = compose_camera(3.0, *angles, [200, 100, -7])
    pose = HeadPose.of_mesh(POINTS, project(POINTS, camera))
    np.testing.assert_allclose(pose, angles, atol=1e-6)


def test_a_nose_to_the_right_and_down_has_positive_angles():
    # Three points of a head that looks at the viewer: ears and nose.
    head = np.array([[-70, 0, 0], [70, 0, 0], [0, 0, 100], [0, 100, 0]])
    pixels = head * [1, -1, 1] + [300, 300, 0]
    right, down = pixels + 0.0, pixels + 0.0
    right[2, 0] += 30
    down[2, 1] += 30
    assert HeadPose.of_mesh(head, right).yaw > 5
    assert HeadPose.of_mesh(head, down).pitch > 5
    # Counter-clockwise as seen: the left ear goes down, the right ear up.
    rolled = pixels + 0.0
    rolled[0, 1] += 30
    rolled[1, 1] -= 30
    assert HeadPose.of_mesh(head, rolled).roll > 5
