"""No answer is sent before the sync that covers its audit record and its change: read off the server's system calls."""

import re
import threading
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.testing.server import initialize, start_server
from strongroom.testing.signed_client import SignedClient

CALL = re.compile(r"^(\d+) +(\w+)\((\d+)<([^>]*)>(.*)$", re.DOTALL)
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>")
SYNCS = {"fdatasync", "fsync"}
WRITES = {"write", "pwrite64", "writev", "sendto", "sendmsg"}


class Traced(NamedTuple):
    """A system call on a file or socket: when it began and was done, as line numbers of the trace."""

    name: str
    path: str
    began: int
    done: int
    text: str


def read_trace(text: str) -> list[Traced]:
    """Put the two halves of interrupted calls together."""
    calls: list[Traced] = []
    unfinished: dict[str, Traced] = {}
    for number, line in enumerate(text.splitlines()):
        resumed = RESUMED.match(line)
        if resumed is not None and resumed[1] in unfinished:
            begun = unfinished.pop(resumed[1])
            calls.append(begun._replace(done=number))
            continue
        call = CALL.match(line)
        if call is None:
            continue
        traced = Traced(call[2], call[4], number, number, call[5])
        if line.rstrip().endswith("<unfinished ...>"):
            unfinished[call[1]] = traced
        else:
            calls.append(traced)
    return calls


def assert_synced_first(calls: list[Traced], request_id: str, *, file_suffix: str) -> None:
    """The answer with this id began after a sync was done, which began after the write with this id was done."""
    sent = [call for call in calls if "TCP" in call.path and call.name in WRITES and request_id in call.text]
    assert len(sent) == 1, f"the answer of {request_id} is in the trace once"
    written = [
        call for call in calls if call.path.endswith(file_suffix) and call.name in WRITES and request_id in call.text
    ]
    assert written, f"the record of {request_id} was written to {file_suffix}"
    first = min(call.done for call in written)  # later ones repeat it: a page of the database holds several records
    syncs = [
        call
        for call in calls
        if call.name in SYNCS and call.path.endswith(file_suffix) and call.began > first and call.done < sent[0].began
    ]
    assert syncs, f"{file_suffix} was synced between the record of {request_id} and its answer"


def test_every_answer_comes_after_its_sync(data: Path, tmp_path: Path) -> None:
    initialize(data)
    trace = tmp_path / "trace"
    traced = "trace=fdatasync,fsync,write,pwrite64,writev,sendto,sendmsg"
    strace = ["strace", "-f", "-yy", "-s", "200000", "-o", str(trace), "-e", traced]
    server = start_server(data, wrapper=strace)
    changed, used = [], []
    try:
        with SignedClient(server) as client:
            created = [client.call("CreateKey", b"") for _ in range(3)]
            changed += [reply.request_id for reply in created]
            key_id = key_id_of(created[0].json())

        def work() -> None:
            with SignedClient(server) as client:
                for _ in range(5):
                    used.append(client.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"}).request_id)
                    used.append(client.call("Encrypt", {"KeyId": "missing", "Plaintext": "QUJD"}).request_id)
                    changed.append(client.call("CreateKey", b"").request_id)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.kill()

    calls = read_trace(trace.read_text(errors="replace"))
    assert len(used) == 80
    assert len(changed) == 43
    for request_id in used + changed:
        assert_synced_first(calls, request_id, file_suffix=".log")
    for request_id in changed:
        assert_synced_first(calls, request_id, file_suffix="strongroom.db-wal")


def key_id_of(members: dict[str, Any]) -> str:
    key_id: str = members["KeyMetadata"]["KeyId"]
    return key_id
