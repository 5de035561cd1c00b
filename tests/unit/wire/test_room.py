"""Who has to leave a full room: by itself, and over sockets."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.wire.room import Room

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Serve, Served

Eventually = Callable[[Callable[[], bool]], None]

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


class Visitor:
    """A connection that only notes that it had to leave."""

    def __init__(self) -> None:
        self.has_left = False

    def leave(self) -> None:
        self.has_left = True


def full_room() -> tuple[Room, list[Visitor]]:
    room, visitors = Room(3), [Visitor() for _ in range(3)]
    assert all(room.enter(visitor) for visitor in visitors)
    return room, visitors


def answer(room: Room, *visitors: Visitor) -> None:
    for visitor in visitors:
        room.busy(visitor)
        room.active(visitor)


def after_one_more(room: Room, visitors: list[Visitor]) -> list[int]:
    """Let one more in, who is answered at once and for long; say which of the others have left by then."""
    newcomer = Visitor()
    assert room.enter(newcomer)
    room.busy(newcomer)
    return [index for index, visitor in enumerate(visitors) if visitor.has_left]


def test_nobody_leaves_a_room_that_is_not_full() -> None:
    room, visitors = full_room()
    room.left(visitors[1])

    assert after_one_more(room, visitors) == []
    assert (room.evicted, room.refused) == (0, 0)


def test_those_who_never_asked_leave_first_and_in_the_order_they_came() -> None:
    room, visitors = full_room()
    answer(room, visitors[0])

    assert after_one_more(room, visitors) == [1]
    assert after_one_more(room, visitors) == [1, 2]
    assert after_one_more(room, visitors) == [0, 1, 2]
    assert room.evicted == 3


def test_a_first_request_that_is_only_begun_earns_nothing() -> None:
    room, visitors = full_room()
    room.active(visitors[0])

    assert after_one_more(room, visitors) == [0]


def test_of_those_who_asked_the_longest_idle_leaves() -> None:
    room, visitors = full_room()
    answer(room, visitors[1], visitors[0], visitors[2], visitors[1])

    assert after_one_more(room, visitors) == [0]


def test_a_further_request_that_is_begun_counts_as_activity() -> None:
    room, visitors = full_room()
    answer(room, *visitors)
    room.active(visitors[0])

    assert after_one_more(room, visitors) == [1]


def test_who_is_being_answered_stays_and_the_newcomer_is_refused() -> None:
    room, visitors = full_room()
    for visitor in visitors:
        room.busy(visitor)

    assert not room.enter(Visitor())
    assert not any(visitor.has_left for visitor in visitors)
    assert (room.evicted, room.refused) == (0, 1)


def test_who_left_while_being_answered_does_not_come_back_with_the_answer() -> None:
    room, visitors = full_room()
    for visitor in visitors:
        room.busy(visitor)
    room.left(visitors[0])
    room.active(visitors[0])

    assert after_one_more(room, visitors) == []
    assert not room.enter(Visitor())


# Over sockets.


class Held:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await asyncio.to_thread(self.release.wait, 10)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})


def with_room_for(capacity: int, served: Served) -> Served:
    served.server.state.room.capacity = capacity
    return served


def test_idle_connections_do_not_shut_others_out(serve: Serve) -> None:
    served = with_room_for(3, serve())
    with served.connect() as asked:
        assert asked.send(POST).response().status == 200
        with served.connect() as silent, served.connect() as half:
            half.send(POST[:-1])
            with served.connect() as new:
                assert new.send(POST).response().status == 200
                assert silent.rest() == b""
                with served.connect() as another:
                    assert another.send(POST).response().status == 200
                    assert half.rest() == b""
                    assert asked.send(POST).response().status == 200
    assert served.server.state.room.evicted == 2


def test_a_connection_that_is_being_answered_is_not_given_up_for_another(serve: Serve, eventually: Eventually) -> None:
    held = Held()
    served = with_room_for(2, serve(held))
    with served.connect() as first, served.connect() as second:
        first.send(POST)
        second.send(POST)
        eventually(lambda: len(served.server.state.tasks) == 2)
        with served.connect() as refused:
            assert refused.rest() == b""
        held.release.set()

        assert [first.response().body, second.response().body] == [b"done", b"done"]
    assert served.server.state.room.refused == 1


def test_places_are_free_again_when_clients_go(serve: Serve, eventually: Eventually) -> None:
    served = with_room_for(2, serve())
    for _ in range(5):
        with ExitStack() as open_connections:
            for _ in range(2):
                open_connections.enter_context(served.connect()).send(POST).response()
        eventually(lambda: not served.server.state.connections)

    assert served.server.state.room.evicted == 0


FEW_DESCRIPTORS = """
import resource, uvloop
from strongroom.wire.server import Server, bind

async def app(scope, receive, send):
    for file in [open("/dev/null") for _ in range(20)]:  # as the database and the log must always be able to do
        file.close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": f"{limits} {server.state.room.capacity}".encode()})

resource.setrlimit(resource.RLIMIT_NOFILE, (80, 128))
listener = bind("127.0.0.1", 0)
server = Server(app)
print(listener.getsockname()[1], flush=True)
uvloop.run(server.serve([listener]))
"""


def test_connections_leave_descriptors_for_everything_else() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", FEW_DESCRIPTORS], stdout=subprocess.PIPE, text=True) as process,
        ExitStack() as crowd,
    ):
        crowd.callback(process.terminate)
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(200):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        asking = crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        asking.sendall(POST.replace(b"POST / HTTP/1.1", b"POST / HTTP/1.0"))  # to be answered and closed
        got = b"".join(iter(lambda: asking.recv(4096), b""))

    assert got.endswith(b"\r\n\r\n(128, 128) 32")
