"""RestServer ends in order, whatever its connections are doing."""

import contextlib
import socket
import threading
import time

import pytest
import requests
from waitress import wasyncore

from serving.rest_server import RestServer

BODY = b"a" * 20_000_000


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]


@contextlib.contextmanager
def serve(host="127.0.0.1"):
    server = RestServer(
        app,
        host=host,
        port=0,
        num_threads=2,
        max_request_bytes=1000,
        silence_seconds=60,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop(5)


@pytest.fixture
def failures(monkeypatch):
    """What threads ended with."""
    found = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


def test_closes_no_socket_that_is_waited_for(failures, monkeypatch):
    is_waiting = threading.Event()
    wait = wasyncore.select.select

    def late(*arguments):
        is_waiting.set()
        time.sleep(0.2)
        return wait(*arguments)

    with serve() as server:
        monkeypatch.setattr(wasyncore.select, "select", late)
        assert is_waiting.wait(5)
        server.stop(5)
    assert failures == []


def test_sends_an_answer_to_its_end():
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/"
        with requests.get(url, stream=True, timeout=10) as response:
            stopping = threading.Thread(target=server.stop, args=(10,))
            stopping.start()
            time.sleep(0.2)
            assert stopping.is_alive()
            assert len(response.raw.read()) == len(BODY)
        stopping.join(10)
        assert not stopping.is_alive()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)


def test_an_answer_that_nobody_reads_ends_with_the_grace():
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/"
        with requests.get(url, stream=True, timeout=10):
            begin = time.monotonic()
            server.stop(0.3)
            assert 0.2 < time.monotonic() - begin < 5


def test_a_silent_connection_does_not_delay():
    with serve() as server:
        address = "127.0.0.1", server.port
        with socket.create_connection(address, timeout=10) as connection:
            begin = time.monotonic()
            server.stop(30)
            assert time.monotonic() - begin < 5
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_all_addresses_of_a_host():
    with serve("*") as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert requests.get(url, timeout=10).content == BODY
