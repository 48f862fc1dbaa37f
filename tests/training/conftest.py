import pytest

from tests.real_data import find_real_data
from tests.training.miniature import make_miniature_model, write_crops
from training.data.aflw_crops import AflwCrops
from training.data.photo_source import PhotoSource
from training.data.vertex_model import VertexModel
from training.fit_labels import fit_labels

NUM_PHOTOS = 24


@pytest.fixture(scope="session")
def miniature_model():
    return make_miniature_model()


@pytest.fixture(scope="session")
def miniature_folder(tmp_path_factory, miniature_model):
    folder = tmp_path_factory.mktemp("photos")
    write_crops(folder, miniature_model, NUM_PHOTOS)
    return folder


@pytest.fixture(scope="session")
def miniature_crops(miniature_folder):
    return AflwCrops.load(miniature_folder)


@pytest.fixture(scope="session")
def labels(miniature_crops, miniature_model):
    return fit_labels(miniature_crops, miniature_model)[0]


@pytest.fixture(scope="session")
def source(miniature_crops, labels):
    return PhotoSource.of_photos(miniature_crops, labels)


@pytest.fixture(scope="session")
def vertex_model(miniature_model, labels):
    return VertexModel.of_labels(
        miniature_model,
        labels.displacement_mean,
        labels.displacement_components,
    )


@pytest.fixture(scope="session")
def real_data():
    """The folder of licensed photos, which only some machines have."""
    folder = find_real_data()
    if folder is None:
        pytest.skip(
            "needs the licensed photos of AFLW and AFLW2000-3D; name their "
            "folder in FACEGCN_DATA_DIR"
        )
    return folder
