"""`facegcn export` puts the weights' own model card beside the SavedModel."""

import pytest

from serving.export_job import export_weights
from tf_facegcn.models import released_weights


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"  # Keras.
)
def test_takes_the_card_of_these_weights(small_model, tmp_path):
    weights = tmp_path / "own.keras"
    small_model.save(weights)
    (tmp_path / "README.md").write_text("Of all weights.")
    weights.with_suffix(".md").write_text("My card.")
    version, _ = export_weights(str(weights), tmp_path / "exported")
    card = (version / "assets" / "model_card.md").read_text()
    assert card.splitlines()[-1] == "My card."


def test_all_released_weights_have_a_card():
    folder = released_weights.WEIGHTS_FOLDER
    index = (folder / "README.md").read_text()
    names = released_weights.known_weights()
    assert "lite" in names
    for name in names:
        card = (folder / f"{name}.md").read_text()
        assert card.startswith(f"# Model card: `{name}`\n")
        assert f"| `{name}` |" in index
