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
def serve(host="127.0.0.1", port=0):
    server = RestServer(
        app,
        host=host,
        port=port,
        num_threads=2,
        max_request_bytes=1000,
        silence_seconds=60,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop(5)


def test_only_the_thread_that_waits_for_sockets_closes_them(monkeypatch):
    closers = []
    close = wasyncore.dispatcher.close

    def record_and_close(dispatcher):
        closers.append(threading.current_thread())
        close(dispatcher)

    monkeypatch.setattr(wasyncore.dispatcher, "close", record_and_close)
    with serve() as server:
        server.stop(5)
        assert closers
        assert threading.current_thread() not in closers
        server.stop(5)  # Nothing is left to do.


def test_a_busy_connection_gets_its_present_answer_and_no_more():
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/"
        answers, failures = [], []

        def ask():
            with requests.Session() as session:
                try:
                    while True:
                        answer = session.get(url, timeout=10)
                        answers.append(len(answer.content))
                except requests.ConnectionError as error:
                    failures.append(error)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        while len(answers) < 8:
            time.sleep(0.01)
        begin = time.monotonic()
        server.stop(30)
        assert time.monotonic() - begin < 15
        for client in clients:
            client.join(10)
    assert len(failures) == 4
    assert set(answers) == {len(BODY)}


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


def test_all_addresses_of_a_name(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    addresses = ["127.0.0.1", "127.0.0.2"]
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in addresses
    ]
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        serving = serve("two-addresses", port)
        server = serving.__enter__()
    try:
        assert server.port == port
        for address in addresses:
            url = f"http://{address}:{port}/"
            assert requests.get(url, timeout=10).content == BODY
    finally:
        serving.__exit__(None, None, None)
