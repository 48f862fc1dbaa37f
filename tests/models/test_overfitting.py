"""Every network learns: eight faces by heart, with the paper's optimiser."""

import keras
import pytest

from tests.models.eight_faces import COUNT, eight_faces
from tf_facegcn.losses.exponential_wing import ExponentialWing
from tf_facegcn.metrics.normalized_mean_error import NormalizedMeanError
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.face_gcn_presets import ABLATIONS

# The paper's network with half the channels.
_NARROW = {
    "encoder_widths": (8, 16, 32, 64, 64, 64),
    "aggregation_widths": (4, 8, 16, 32, 64, 64),
    "embedding_hidden": (128,),
    "embedding_size": 128,
    "vertex_width": 64,
    "decoder_growths": (16, 16, 16, 16, 16, 16),
    "output_filters": (8,),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "fields", "learning_rate", "steps"),
    [
        ("paper", _NARROW, 5e-3, 520),
        ("lite", {}, 1e-3, 200),
        *((f"lite_{name}", {}, 1e-3, 200) for name in ABLATIONS),
    ],
)
def test_overfits_eight_faces(preset, fields, learning_rate, steps):
    keras.utils.set_random_seed(0)
    model = FaceGCN.from_preset(preset, **fields)
    photos, vertices = eight_faces(model.input_size)
    # The paper decays by 0.99 every epoch; a cosine ends at the same time.
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        ExponentialWing(),
        metrics=[NormalizedMeanError(model.landmarks, name="nme")],
    )

    def evaluate():
        return model.evaluate(
            photos, vertices, batch_size=COUNT, verbose=0, return_dict=True
        )

    # The template, so a face, but not these faces.
    assert 5.0 < evaluate()["nme"] < 60.0
    model.fit(photos, vertices, batch_size=COUNT, epochs=steps, verbose=0)
    # As in use: with the averages that batch normalisation has gathered.
    assert evaluate()["nme"] < 1.0
