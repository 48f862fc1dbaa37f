import pytest

from tests.real_data import find_real_data
from tests.training.miniature import make_miniature_model, write_crops
from training.data.aflw_crops import AflwCrops

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
def real_data():
    """The folder of licensed photos, which only some machines have."""
    folder = find_real_data()
    if folder is None:
        pytest.skip(
            "needs the licensed photos of AFLW and AFLW2000-3D; name their "
            "folder in FACEGCN_DATA_DIR"
        )
    return folder
