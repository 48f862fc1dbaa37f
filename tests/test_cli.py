import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.fake_model import FakeFaceModel
from tests.imaging.photo_files import (
    ASTRONAUT,
    CMYK_JPEG,
    encode,
    jpeg_with_orientation,
    png_of_announced_size,
)
from tf_facegcn import cli
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.models import released_weights
from tf_facegcn.writers.result_files import DEFAULT_FORMATS

COMMANDS = [
    ["predict"],
    ["train"],
    ["evaluate"],
    ["hierarchy"],
    ["bench", "hierarchy"],
    ["bench", "graph"],
    ["bench", "model"],
]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command with a fake network, in an empty folder."""
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "lite.keras").write_bytes(b"")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(released_weights, "WEIGHTS_FOLDER", weights)
    monkeypatch.setattr(
        released_weights, "load_model", lambda name: FakeFaceModel()
    )
    monkeypatch.chdir(work)

    def run_command(*arguments):
        return CliRunner().invoke(cli.app, [str(part) for part in arguments])

    return run_command


def results(folder="results"):
    return sorted(path.name for path in Path(folder).glob("*"))


def astronaut_pixels():
    return read_photo(ASTRONAUT)


def check_failure(result, *words, exit_code=1):
    """One line on stderr, with these words in it, and no results."""
    assert result.exit_code == exit_code, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("facegcn: ")
    for word in words:
        assert word in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert results() == []


def test_the_main_job(run):
    result = run("predict", ASTRONAUT, "--output", "results")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "1 face, 4 files results/astronaut_*" in result.stdout
    assert results() == [
        "astronaut_face1.json",
        "astronaut_face1.npz",
        "astronaut_face1.obj",
        "astronaut_overlay.jpg",
    ]
    fields = json.loads(Path("results/astronaut_face1.json").read_bytes())
    # The fake head sits where the detector's box says that the face is.
    center = np.mean(fields["landmarks"], axis=0)
    assert np.abs(center[:2] - [222, 132]).max() < 15
    assert fields["score"] > 0.8


def test_formats_are_chosen(run):
    result = run(
        "predict", ASTRONAUT, "-o", "results", "--format", "json, depth,json"
    )
    assert result.exit_code == 0
    assert results() == ["astronaut_face1.json", "astronaut_face1_depth.png"]


def test_the_default_formats_are_those_of_the_library(run):
    help_text = " ".join(run("predict", "--help").output.split())
    assert f"[default: {','.join(DEFAULT_FORMATS)}]" in help_text


def test_verbose_prints_faces_and_times(run):
    result = run("predict", ASTRONAUT, "-o", "results", "--verbose")
    assert result.exit_code == 0
    assert "Warmed up in" in result.stdout
    assert re.search(
        r"face 1: box \(17\d, 6\d, .*\), score 0\.\d\d", result.stdout
    )
    assert "yaw +20.0, pitch -10.0, roll +5.0 degrees" in result.stdout
    times = result.stdout.splitlines()[-1].split(", ")
    steps = [step.split()[0] for step in times]
    assert steps == ["read", "detect", "network", "write", "together"]
    assert all(step.endswith(" ms") for step in times)


@pytest.mark.parametrize(
    ("options", "box", "center"),
    [
        (["--detector", "none"], (0, 0, 512, 512), (256, 256)),
        (["--box", 150, 60, 290, 200], (150, 60, 290, 200), (220, 130)),
    ],
)
def test_a_face_can_be_given(run, options, box, center):
    arguments = ["-o", "results", "--format", "json", *options]
    result = run("predict", ASTRONAUT, *arguments)
    assert result.exit_code == 0, result.output
    fields = json.loads(Path("results/astronaut_face1.json").read_bytes())
    assert tuple(fields["box"].values()) == box
    assert fields["score"] is None
    landmarks = np.array(fields["landmarks"])[:, :2]
    found = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2
    np.testing.assert_allclose(found, np.subtract(center, 0.5), atol=0.01)


def write(name, data):
    Path(name).write_bytes(data)


def good_photos():
    pixels = astronaut_pixels()
    deep = pixels.astype(np.uint16) * 257
    return {
        "grey.png": encode(pixels[..., 1]),
        "rgba.png": encode(np.dstack([pixels, pixels[..., :1]])),
        "deep.png": encode(deep),
        "webp.webp": encode(pixels, ".webp"),
        "rotated.jpg": jpeg_with_orientation(np.rot90(pixels), 6),
    }


@pytest.mark.parametrize(
    "name", ["grey.png", "rgba.png", "deep.png", "webp.webp", "rotated.jpg"]
)
def test_photos_of_every_kind_work(run, name):
    write(name, good_photos()[name])
    result = run("predict", name, "-o", "results", "--format", "json")
    assert result.exit_code == 0, result.output
    stem = name.split(".")[0]
    box = json.loads(Path(f"results/{stem}_face1.json").read_bytes())["box"]
    # Upright: the face is where it is in the original.
    assert abs(box["left"] - 178) < 8
    assert abs(box["top"] - 63) < 8


def test_forty_faces(run):
    pixels = np.tile(astronaut_pixels()[0:240, 120:340], (5, 8, 1))
    write("crowd.png", encode(pixels))
    result = run(
        "predict", "crowd.png", "-o", "results", "--format", "json,overlay"
    )
    assert result.exit_code == 0
    assert "40 faces, 41 files" in result.stdout
    assert len(results()) == 41


def truncated_jpeg():
    data = ASTRONAUT.read_bytes()
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Dear diary, ...", ["not a photo", "Expected JPEG"]),
        (b"", ["empty"]),
        (truncated_jpeg(), ["512 x 512", "breaks off", "Fetch it again"]),
        (encode(np.zeros((1, 1, 3), np.uint8)), ["no face", "1 x 1"]),
        (png_of_announced_size(20_000, 20_000), ["20,000 x 20,000"]),
        (CMYK_JPEG, ["no face", "16 x 8"]),
        (encode(np.full((300, 300, 3), 99, np.uint8)), ["no face", "--box"]),
    ],
)
def test_bad_photos_end_with_one_line(run, data, words):
    write("bad.jpg", data)
    result = run("predict", "bad.jpg", "--output", "results")
    check_failure(result, "bad.jpg", *words)


def test_one_pixel_works_if_told_so(run):
    write("dot.png", encode(np.zeros((1, 1, 3), np.uint8)))
    result = run("predict", "dot.png", "-o", "results", "--detector", "none")
    assert result.exit_code == 0
    assert len(results()) == 4


def test_a_folder_and_a_missing_path_end_with_one_line(run):
    check_failure(run("predict", ".", "-o", "results"), "no photo in")
    check_failure(run("predict", "no.jpg", "-o", "results"), "no such file")


def test_an_output_that_is_a_file_ends_with_one_line(run):
    write("taken", b"")
    for output in ("taken", "taken/below"):
        result = run("predict", ASTRONAUT, "-o", output)
        check_failure(result, f"--output {output}", "is a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write")
def test_an_unwritable_output_ends_with_one_line(run):
    Path("closed").mkdir(mode=0o500)
    result = run("predict", ASTRONAUT, "-o", "closed/results")
    check_failure(result, "closed is not writable")


def test_an_output_that_fails_leaves_nothing_half_written(run, monkeypatch):
    from tf_facegcn.writers import file_batch

    def fail(self, path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(file_batch.FileBatch, "write", fail)
    result = run("predict", ASTRONAUT, "-o", "results")
    check_failure(result, "results/astronaut_face1.obj: No space left")


def test_a_box_beside_the_photo_ends_with_one_line(run):
    box = [600, 600, 700, 700]
    result = run("predict", ASTRONAUT, "-o", "results", "--box", *box)
    check_failure(result, "overlaps the photo", "512 x 512")


def test_unknown_weights_end_with_one_line(run):
    result = run("predict", ASTRONAUT, "-o", "results", "--weights", "huge")
    check_failure(result, "there are: lite", "'huge'")


def test_takes_folders_and_lists(run):
    for name in ("a", "b"):
        Path(name).mkdir()
        write(f"{name}/{name}.jpg", ASTRONAUT.read_bytes())
    Path("list.txt").write_text("a/a.jpg\nb/b.jpg\n")
    for arguments in (["a", "b/b.jpg"], ["--list", "list.txt"]):
        result = run("predict", *arguments, "-o", "results", "--format", "json")
        assert result.exit_code == 0, result.stderr
        assert results() == ["a_face1.json", "b_face1.json"]
        shutil.rmtree("results")


def test_one_bad_photo_does_not_stop_the_others(run):
    write("bad.jpg", truncated_jpeg())
    Path("other").mkdir()
    write("other/astronaut.jpg", ASTRONAUT.read_bytes())
    photos = [ASTRONAUT, "bad.jpg", "missing.jpg", "other/astronaut.jpg"]
    result = run("predict", *photos, "-o", "results", "--format", "json")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines[:2]] == photos[1:3]
    assert "2 of 4 photos failed, the others are done" in lines[2]
    assert len(lines) == 3
    # Two photos of one name, two results.
    assert results() == ["astronaut_2_face1.json", "astronaut_face1.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict"],
        ["predict", "-o", "results"],
        ["predict", "a.jpg", "-o", "results", "--list", "b.txt"],
        ["predict", "a.jpg", "-o", "results", "--ray", "auto"],
        ["predict", "a.jpg", "-o", "results", "--workers", "0"],
        ["predict", "a.jpg"],
        ["predict", "a.jpg", "-o", "results", "--format", "stl"],
        ["predict", "a.jpg", "-o", "results", "--format", ""],
        ["predict", "a.jpg", "-o", "results", "--box", "9", "9", "1", "1"],
        ["predict", "a.jpg", "-o", "results", "--box", "9"],
        ["predict", "a.jpg", "-o", "results", "--detector", "haar"],
        ["predict", "a.jpg", "-o", "results", "--colour"],
        ["train", "--config", "lit", "--workdir", "results"],
        ["train", "--config", "lite", "--workdir", "w", "--set", "epoch=1"],
        ["hierarchy"],
        ["bench", "hierarchy"],
        ["bench", "graph"],
        ["bench", "model"],
        ["sing"],
    ],
)
def test_wrong_usage_exits_with_2(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr or "Usage" in result.stderr
    assert results(".") == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: facegcn {' '.join(command)}" in result.stdout


def test_help_imports_neither_tensorflow_nor_opencv():
    program = (
        "import sys\n"
        "from tf_facegcn.cli import main\n"
        "sys.argv = ['facegcn', 'predict', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n"
        "    heavy = {'tensorflow', 'keras', 'cv2', 'numpy', 'scipy'}\n"
        "    sys.exit(f'imported {heavy & set(sys.modules)}'\n"
        "             if heavy & set(sys.modules) else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


UNEXPECTED = """
import sys
from tf_facegcn import cli
from tf_facegcn.models import released_weights

def fail(name):
    raise KeyError("surprise")

released_weights.find_weights = fail
sys.argv = ["facegcn", "predict", "a.jpg", "-o", "results", *sys.argv[1:]]
cli.main()
"""


def test_a_defect_is_one_line_too_and_debug_shows_where(tmp_path):
    def run_program(*options):
        return subprocess.run(
            [sys.executable, "-c", UNEXPECTED, *options],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )

    result = run_program()
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "unexpected KeyError" in result.stderr
    assert "--debug" in result.stderr
    result = run_program("--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_debug_shows_the_traceback_of_bad_input(run):
    result = run("predict", "no.jpg", "-o", "results", "--debug")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "PhotoError"


@pytest.mark.slow  # Imports TensorFlow.
def test_train_calls_the_library(run, monkeypatch):
    import training.train

    calls = []
    monkeypatch.setattr(
        training.train, "train", lambda *a: calls.append(a) or "w.keras"
    )
    arguments = ["--config", "smoke", "--workdir", "w", "--set", "epochs=7"]
    result = run("train", *arguments, "--set", "batch_size=3")
    assert result.exit_code == 0, result.output
    ((config, workdir),) = calls
    assert (config.name, config.epochs, config.batch_size) == ("smoke", 7, 3)
    assert str(workdir) == "w"
    assert "w.keras" in result.stdout


@pytest.mark.slow  # Imports TensorFlow.
def test_evaluate_calls_the_library(run, monkeypatch):
    import training.evaluate
    from training.landmark_prediction import LookOptions

    calls = []
    figures = {"bins": [1.25, None, 3.5], "mean_of_bins": 2.375, "mean": 2.0}
    metrics = {
        "num_photos": 7,
        "nme_2d_68": {"original": figures},
        "nme_3d_68": figures,
        "subsets": {},
        "num_missed": 3,
    }
    monkeypatch.setattr(
        training.evaluate,
        "evaluate",
        lambda **fields: calls.append(fields) or metrics,
    )
    arguments = ["--dataset", "aflw2000", "--data-dir", "d", "-o", "results"]
    result = run("evaluate", *arguments)
    assert result.exit_code == 0
    row = result.stdout.splitlines()[1].split()
    assert row[-5:] == ["1.250", "-", "3.500", "2.375", "2.000"]
    assert run("evaluate", *arguments, "--predictions", "p").exit_code == 0
    assert [call["weights"] for call in calls] == ["lite", None]
    assert [str(call["predictions"]) for call in calls] == ["None", "p"]
    look = ("--boxes", "detector", "--refinements", "2", "--narrower")
    result = run("evaluate", *arguments, *look)
    assert calls[0]["look"] == LookOptions()
    assert calls[2]["look"] == LookOptions("detector", 2, narrower=True)
    assert "3 faces were not detected" in result.stdout
    run("evaluate", *arguments, "--mirror")
    assert calls[3]["look"] == LookOptions(mirror=True)
    result = run("evaluate", *arguments, "--weights", "huge")
    check_failure(result, "'huge'")


def test_hierarchy_writes_a_file_that_loads(run, monkeypatch, tiny_hierarchy):
    from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy

    monkeypatch.setattr(
        MeshHierarchy, "build", classmethod(lambda cls, mesh: tiny_hierarchy)
    )
    result = run("hierarchy", "--output", "results/h.npz")
    assert result.exit_code == 0, result.output
    assert "642, 256, 64, 16 vertices" in result.stdout
    loaded = MeshHierarchy.load("results/h.npz")
    assert loaded.fingerprint == tiny_hierarchy.fingerprint
    result = run("hierarchy", "-o", "h.npz", "--face-model", "missing.npz")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_bench_writes_figures(run, monkeypatch):
    from tf_facegcn.benchmarks import hierarchy

    monkeypatch.setattr(
        hierarchy, "benchmark_hierarchy", lambda mesh: {"build_s": 1.5}
    )
    result = run("bench", "hierarchy", "--json", "results/figures.json")
    assert result.exit_code == 0, result.output
    figures = json.loads(Path("results/figures.json").read_bytes())
    assert figures == {"build_s": 1.5}


@pytest.mark.parametrize(
    ("option", "num_cases"), [([], 168), (["--no-grid"], 0)]
)
def test_bench_graph_writes_figures(option, num_cases, run, monkeypatch):
    from tf_facegcn.benchmarks import graph

    def benchmark(hierarchy, cases, grid, report):
        report("a line")
        return {"levels": len(hierarchy.levels), "grid": len(list(grid))}

    monkeypatch.setattr(graph, "benchmark_graph", benchmark)
    result = run("bench", "graph", "--json", "results/figures.json", *option)
    assert result.exit_code == 0, result.output
    assert "a line" in result.stdout
    figures = json.loads(Path("results/figures.json").read_bytes())
    assert figures == {"levels": 7, "grid": num_cases}


@pytest.mark.parametrize(
    ("option", "num_groups"), [([], 4), (["--no-grid"], 0)]
)
def test_bench_model_writes_figures(option, num_groups, run, monkeypatch):
    from tf_facegcn.benchmarks import model

    def benchmark(headline, ratios, grid, report):
        report("a line")
        return {"headline": len(headline), "groups": len(grid)}

    monkeypatch.setattr(model, "benchmark_model", benchmark)
    result = run("bench", "model", "--json", "results/figures.json", *option)
    assert result.exit_code == 0, result.output
    assert "a line" in result.stdout
    figures = json.loads(Path("results/figures.json").read_bytes())
    assert figures == {"headline": len(model.HEADLINE), "groups": num_groups}


def test_cv2_reads_the_depth_map_that_the_command_writes(run):
    run("predict", ASTRONAUT, "-o", "results", "--format", "depth")
    depth = cv2.imread(
        "results/astronaut_face1_depth.png", cv2.IMREAD_UNCHANGED
    )
    assert depth.dtype == np.uint16
    assert depth[132, 222] > 32768
    assert depth[0, 0] == 0
