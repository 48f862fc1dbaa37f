import os
import subprocess
import sys

from tf_facegcn.native_messages import native_messages_hidden

PROGRAM = """
import os, sys
from tf_facegcn.native_messages import native_messages_hidden
os.write(2, b"before,")
with native_messages_hidden():
    os.write(2, b"native,")
    print("python,", end="", file=sys.stderr)
os.write(2, b"after")
"""


def test_hides_native_messages_and_shows_those_of_python():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True
    )
    assert result.stderr == b"before,python,after"


def test_works_with_standard_error_closed():
    result = subprocess.run(
        f"{sys.executable} -c 'from tf_facegcn.native_messages import *\n"
        "with native_messages_hidden(): pass' 2>&-",
        shell=True,
        check=False,
    )
    assert result.returncode == 0


def test_is_undone_by_an_exception(capfd):
    stream = sys.stderr
    try:
        with native_messages_hidden():
            os.write(2, b"hidden")
            raise KeyError
    except KeyError:
        os.write(2, b"shown")
    assert sys.stderr is stream
    assert capfd.readouterr().err == "shown"
