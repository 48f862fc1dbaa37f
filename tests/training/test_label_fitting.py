import dataclasses

import numpy as np
import pytest

from tests.training.miniature import make_faces
from tf_facegcn.geometry.camera import compose_camera, project
from training import label_fitting
from training.label_fitting import FittingWeights, LandmarkModel, fit_landmarks

# No prior holds the parameters back and nothing slides.
EXACT = FittingWeights(
    contour_along=1.0,
    contour_across=1.0,
    depth=1.0,
    shape_prior=1e-4,
    expression_prior=1e-4,
    negative_expression=0.0,
    iterations=12,
)


# An arbitrary offset.
DEPTH = np.array([0, 0, 33.0])


@pytest.fixture(scope="module")
def model(miniature_model):
    mean, shapes, expressions = miniature_model.subset(
        miniature_model.landmarks
    )
    return LandmarkModel(mean, np.concatenate([shapes, expressions], -1), 4)


def test_recovers_landmarks_and_cameras(model, miniature_model):
    targets, cameras = make_faces(miniature_model, 5)
    fit = fit_landmarks(model, targets + DEPTH, EXACT)
    assert np.abs(fit.residuals).max() < 0.05
    np.testing.assert_allclose(
        fit.cameras[..., :2, :3], cameras[..., :2, :3], atol=0.02
    )
    found = project(model.landmarks(fit.parameters), fit.cameras)
    np.testing.assert_allclose(found, targets + DEPTH, atol=0.05)


def test_jacobian_equals_finite_differences(model):
    cameras = compose_camera([0.9], [30], [10], [-20], [[100, 110, 0]])
    parameters = np.full((1, 6), 0.3)
    analytic = label_fitting._jacobian(
        model, model.landmarks(parameters), cameras
    )[0]
    step = 1e-4

    def projected(change):
        moved = label_fitting._moved(cameras, change[None, :6])
        points = project(model.landmarks(parameters + change[6:]), moved)[0]
        return points - points.mean(axis=0) * [0, 0, 1]

    for column, unit in enumerate(np.eye(12) * step):
        # A shift is not applied to the linear part, which turns about the
        # model's origin.
        numeric = (projected(unit) - projected(-unit)) / (2 * step)
        np.testing.assert_allclose(
            analytic[..., column], numeric, rtol=1e-3, atol=1e-2
        )


def test_contour_slides_along_itself():
    # A contour that runs down the picture; other landmarks anywhere.
    targets = np.zeros((1, 68, 3))
    targets[0, :17, 1] = np.arange(17) * 5
    weights = FittingWeights(
        scatter=2.0, depth=0.25, contour_along=0.01, contour_across=0.64
    )
    rooted = label_fitting._rooted_weights(targets, weights)[0]
    costs = np.sum((rooted @ np.diag([10.0, 10.0, 10.0])) ** 2, axis=1)
    # 10 squared over 2 squared is 25, times the weights of x, y and z.
    np.testing.assert_allclose(costs[17:], [[25.0, 25.0, 6.25]] * 51)
    np.testing.assert_allclose(
        costs[:17, :2], [[16.0, 0.25]] * 17, rtol=1e-5, atol=1e-5
    )


def test_prior_keeps_expressions_from_turning_negative(model):
    cameras = compose_camera(0.9, 0, 0, 0, [128.0, 128, 0])
    parameters = np.array([[0, 0, 0, 0, -0.8, -0.8]])
    targets = project(model.landmarks(parameters), cameras)
    held = dataclasses.replace(EXACT, negative_expression=1e4)
    free, kept = (
        fit_landmarks(model, targets, weights).parameters[0, 4:]
        for weights in (EXACT, held)
    )
    assert np.all(free < -0.5)
    assert np.all(kept > -0.15)
