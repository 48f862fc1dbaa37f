import keras
import pytest
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.export import export
from serving.server import ModelServer
from serving.server_options import ServerOptions, one_model
from tests.serving.saved_models import save_examples_model, save_half_plus
from tests.training.miniature import make_miniature_model
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.models.face_gcn import FaceGCN


@pytest.fixture(scope="session")
def small_model():
    """A FaceGCN of 642 vertices with random weights, on a moved template."""
    face_model = make_miniature_model()
    keras.utils.set_random_seed(0)
    model = FaceGCN.from_preset(
        "tiny",
        hierarchy=MeshHierarchy.build(
            face_model.template, level_sizes=(256, 64, 16)
        ),
        landmarks=face_model.landmarks,
        lowering="gather",
    )
    # Untrained, the output is the template whatever the photo is.
    for variable in model.trainable_variables:
        if not variable.numpy().any():
            variable.assign(
                keras.random.normal(variable.shape, stddev=0.01, seed=1)
            )
    return model


@pytest.fixture(scope="session")
def exported(small_model, tmp_path_factory):
    """Its version folder 1."""
    output = tmp_path_factory.mktemp("models") / "facegcn"
    return export(small_model, output, model_card="A card.")


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory):
    """The folders of half_plus, versions 1 to 3 of offset 1 to 3, examples."""
    folder = tmp_path_factory.mktemp("served")
    for version in (1, 2, 3):
        save_half_plus(folder / "half_plus" / str(version), version)
    save_examples_model(folder / "examples" / "7")
    return folder


@pytest.fixture(scope="session")
def server(models_folder, exported):
    """Serves facegcn, half_plus (versions 2 and 3) and examples."""
    half_plus = ModelConfig(
        name="half_plus", base_path=str(models_folder / "half_plus")
    )
    half_plus.model_version_policy.latest.num_versions = 2
    half_plus.version_labels["stable"] = 2
    examples = ModelConfig(
        name="examples", base_path=str(models_folder / "examples")
    )
    started = ModelServer(
        ServerOptions(
            (
                *one_model("facegcn", str(exported.parent)),
                half_plus,
                examples,
            ),
            host="127.0.0.1",
            port=0,
            rest_port=0,
            metrics_path="/metrics",
            max_message_bytes=2_000_000,
            max_waiting=64,
        )
    )
    started.start()
    assert started.wait_until_ready(120)
    yield started
    started.stop(5)
