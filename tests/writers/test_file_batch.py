import pytest

from tf_facegcn.writers.file_batch import FileBatch


def test_files_appear_together_at_the_end(tmp_path):
    with FileBatch() as batch:
        batch.write(tmp_path / "a.txt", b"a")
        batch.write(tmp_path / "b.txt", b"b")
        assert not list(tmp_path.glob("*.txt"))
    assert (tmp_path / "a.txt").read_bytes() == b"a"
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt"}


def test_a_failure_leaves_older_files_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), FileBatch() as batch:
        batch.write(tmp_path / "a.txt", b"new")
        batch.write(tmp_path / "b.txt", b"b")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_replaces_older_files(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"old")
    with FileBatch() as batch:
        batch.write(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"new"


def test_takes_names_as_long_as_a_folder_does(tmp_path):
    path = tmp_path / ("x" * 255)
    with FileBatch() as batch:
        batch.write(path, b"long")
    assert path.read_bytes() == b"long"


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), FileBatch() as batch:
        batch.write(tmp_path / "missing" / "a.txt", b"a")
