"""What each preset weighs and computes, exactly."""

from pathlib import Path

import pytest

from tf_facegcn.benchmarks.model import measure_size
from tf_facegcn.models.face_gcn_presets import PRESETS

# Parameters (with the statistics of batch normalisation) and floating-point
# operations of one photo (see `count_flops`), on the bundled head.
SIZES = {
    "paper": (3_634_755, 5_066_998_148),
    "paper_coarse": (3_419_171, 1_152_578_442),
    "lite": (1_805_663, 172_929_034),
    "tiny": (218_103, 24_064_680),
    "paper_no_aggregation": (2_461_955, 3_796_648_324),
    "paper_unet": (2_617_339, 4_010_033_540),
    "paper_no_upsampling": (3_593_155, 5_006_180_740),
    "paper_no_downsampling": (3_476_643, 4_951_654_788),
    "lite_no_aggregation": (1_536_479, 119_320_586),
    "lite_unet": (1_588_703, 127_184_906),
    "lite_no_upsampling": (1_787_231, 168_210_442),
    "lite_no_downsampling": (1_741_055, 164_671_498),
}


def _row(preset, num_parameters, flops):
    """The preset's line of the README's table."""
    return (
        f"| `{preset}` | {num_parameters:,} | {4 * num_parameters / 1e6:.1f} | "
        f"{2 * num_parameters / 1e6:.1f} | {flops / 1e9:.2f} |"
    )


def test_every_preset_is_in_the_table():
    assert set(SIZES) == set(PRESETS)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_size(preset):
    size = measure_size(preset)
    flops = round(1e9 * size["gflop"])
    assert (size["num_parameters"], flops) == SIZES[preset]


@pytest.mark.parametrize("preset", SIZES)
def test_the_readme_says_the_same(preset):
    readme = Path(__file__).parents[2] / "README.md"
    assert _row(preset, *SIZES[preset]) in readme.read_text().splitlines()


def test_the_papers_network_is_no_larger_than_the_authors():
    # Sec. V-D: 84.5 MB.
    assert 4 * SIZES["paper"][0] <= 84.5e6
