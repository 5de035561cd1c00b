"""What is told to those who watch a node."""

import pytest

from strongroom.wire.health import Readiness, application
from tests.unit.wire.conftest import Response, Serve, Served

WELL = Readiness(ready=True, stopping=False, parts={"storage": True, "hsm": True})


class Node:
    """A node that is as it is told to be."""

    metrics_type = "text/plain; version=0.0.4"

    def __init__(self) -> None:
        self.says = WELL

    def readiness(self) -> Readiness:
        return self.says

    def metrics(self) -> bytes:
        return b"strongroom_connections 1\n"


NODE = Node()


@pytest.fixture(scope="module")
def watched(serve_module: Serve) -> Served:
    return serve_module(application(NODE))


def ask(watched: Served, path: str, method: str = "GET") -> Response:
    with watched.connect() as connection:
        connection.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return connection.response(head_only=method == "HEAD")


def test_a_process_that_answers_is_live(watched: Served) -> None:
    answer = ask(watched, "/health/live")
    assert (answer.status, answer.body) == (200, b'{"live":true}')
    assert b"Content-Type: application/json" in answer.head
    assert b"Cache-Control: no-store" in answer.head


def test_readiness_is_a_status_and_names_each_part(watched: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ask(watched, "/health/ready")
    expected = b'{"ready":true,"stopping":false,"parts":{"storage":true,"hsm":true}}'
    assert (answer.status, answer.body) == (200, expected)
    monkeypatch.setattr(NODE, "says", Readiness(ready=False, stopping=True, parts={"storage": True, "hsm": False}))
    answer = ask(watched, "/health/ready")
    expected = b'{"ready":false,"stopping":true,"parts":{"storage":true,"hsm":false}}'
    assert (answer.status, answer.body) == (503, expected)
    assert ask(watched, "/health/live").status == 200


def test_metrics_have_their_media_type(watched: Served) -> None:
    answer = ask(watched, "/metrics?collect=all")
    assert (answer.status, answer.body) == (200, b"strongroom_connections 1\n")
    assert b"Content-Type: text/plain; version=0.0.4" in answer.head


def test_a_head_without_its_body(watched: Served) -> None:
    answer = ask(watched, "/metrics", "HEAD")
    assert answer.status == 200
    assert b"Content-Length: 25" in answer.head


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready/", "/metrics/x", "/kms/xks/v1/health", "//metrics"])
def test_nothing_else_is_told(watched: Served, path: str) -> None:
    answer = ask(watched, path)
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_done(watched: Served, method: str) -> None:
    answer = ask(watched, "/health/ready", method)
    assert (answer.status, answer.body) == (405, b"")
    assert b"Allow: GET, HEAD" in answer.head
