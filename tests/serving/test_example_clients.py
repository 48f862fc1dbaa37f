"""The clients of docs/clients, run where their tool chains are installed."""

import base64
import http.server
import json
import os
import queue
import re
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np
import pytest

from serving.client import FaceGCNClient
from serving.server_process import free_port, wait_until_serving
from tests.imaging.photo_files import ASTRONAUT
from tests.serving.server_process import serving

pytestmark = pytest.mark.slow

_GO = Path("docs/clients/go")
_BROWSER = Path("docs/clients/browser")
# Where Debian keeps the sources of Go libraries (golang-google-grpc-dev).
_GO_LIBRARIES = Path("/usr/share/gocode")
_CHROMIUM = shutil.which("chromium")
BOX = (150, 40, 310, 210)


@pytest.fixture(scope="module")
def go_client(tmp_path_factory):
    missing = [
        name
        for name in ("go", "protoc", "protoc-gen-go")
        if not shutil.which(name)
    ]
    if missing or not (_GO_LIBRARIES / "src/google.golang.org/grpc").is_dir():
        pytest.skip(f"no Go tool chain with gRPC: {missing or 'no library'}")
    folder = tmp_path_factory.mktemp("go")
    source = folder / "src/facegcn"
    shutil.copytree(_GO, source)
    subprocess.run(
        [
            "protoc",
            "--proto_path=serving/protos",
            # Debian's library keeps `Any` elsewhere than newer ones.
            "--go_out=Mgoogle/protobuf/any.proto="
            f"github.com/golang/protobuf/ptypes/any:{source}",
            "predict_client.proto",
        ],
        check=True,
    )
    subprocess.run(
        ["go", "build", "-o", folder / "facegcn", "facegcn"],
        check=True,
        cwd=source,
        env={
            **os.environ,
            "GO111MODULE": "off",
            "GOPATH": f"{folder}:{_GO_LIBRARIES}",
            "GOFLAGS": "",
        },
    )
    return folder / "facegcn"


def test_go(go_client, server, tmp_path):
    address = f"127.0.0.1:{server.port}"
    file = tmp_path / "face.obj"

    def run(*arguments):
        return subprocess.run(
            [go_client, "-server", address, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    with FaceGCNClient(address) as client:
        for arguments, box in (([], None), (["-box", "150,40,310,210"], BOX)):
            done = run(*arguments, ASTRONAUT, file)
            assert done.returncode == 0, done.stderr
            expected = client.predict(ASTRONAUT, box).vertices
            assert f"{len(expected)} vertices, of version 1" in done.stdout
            lines = file.read_text().splitlines()
            found = np.array([line.split()[1:] for line in lines], float)
            np.testing.assert_allclose(found * (1, -1, 1), expected, atol=1e-4)
    for arguments, words in (
        ([ASTRONAUT], "Usage"),
        (["missing.jpg", file], "no such file"),
        (["-box", "1,2", ASTRONAUT, file], "expected LEFT,TOP,RIGHT,BOTTOM"),
        (["-model", "x", ASTRONAUT, file], "Servable not found"),
    ):
        done = run(*arguments)
        assert done.returncode != 0
        assert words in done.stderr


# Tells the test what the page says in the end, and shows what it has drawn.
_REPORTER = b"""<script>
setInterval(() => {
  if (/^No |vertices in/.test(state.textContent))
    fetch("/said", {method: "POST", body: JSON.stringify(
      {text: state.textContent, picture: canvas.toDataURL("image/png")})});
}, 200);
</script>"""


class Page(http.server.ThreadingHTTPServer):
    """Serves the page and a photo; shows it in a browser."""

    def __init__(self):
        said = self.said = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                is_photo = self.path == "/photo.jpg"
                file = ASTRONAUT if is_photo else _BROWSER / "index.html"
                self.send_response(200)
                self.end_headers()
                self.wfile.write(file.read_bytes())
                if not is_photo:
                    self.wfile.write(_REPORTER)

            def do_POST(self):
                length = int(self.headers["content-length"])
                said.put(json.loads(self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def show(self, profile, **options):
        """What the page says in the end: text, and its picture in pixels."""
        self.said.queue.clear()
        url = f"http://127.0.0.1:{self.server_address[1]}/?{urlencode(options)}"
        command = [_CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"]
        command += [f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        with subprocess.Popen([*command, url], stderr=subprocess.PIPE) as shown:
            try:
                found = self.said.get(timeout=60)
            finally:
                shown.kill()
        data = base64.b64decode(found["picture"].split(",")[1])
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return found["text"], pixels


@pytest.fixture
def page():
    opened = Page()
    yield opened
    opened.shutdown()
    opened.server_close()


@pytest.mark.skipif(_CHROMIUM is None, reason="Chromium is not installed")
def test_browser(exported, page, tmp_path):
    port, rest_port = free_port(), free_port()
    rest = f"http://localhost:{rest_port}"
    options = {"server": rest, "photo": "photo.jpg", "box": "150,40,310,210"}

    def ask(**changes):
        return page.show(tmp_path / "profile", **{**options, **changes})

    with serving(
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        "--model_name=facegcn",
        f"--model_base_path={exported.parent}",
        "--rest_api_enable_cors_support",
    ) as (process, _):
        wait_until_serving(f"localhost:{port}", process)
        with FaceGCNClient(f"localhost:{port}") as client:
            mesh = client.predict(ASTRONAUT, BOX)
        text, drawn = ask()
        assert re.match(f"{len(mesh.vertices)} vertices in [0-9]+ ms", text)
        # Landmarks are white spots where the mesh has them.
        for x, y in mesh.landmarks[:, :2].round().astype(int):
            assert drawn[y, x].min() > 200
        photo = cv2.imread(str(ASTRONAUT))
        changed = np.abs(drawn.astype(int) - photo).max(axis=2) > 30
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        ys, xs = changed.nonzero()
        assert abs(xs.min() - min(low[0], BOX[0])) < 4
        assert abs(ys.max() - max(high[1], BOX[3])) < 4
        assert "Servable not found" in ask(model="nobody")[0]
    assert "No mesh" in ask()[0]
