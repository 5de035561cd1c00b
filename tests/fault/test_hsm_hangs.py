"""An HSM whose calls do not return: their callers are let go, the process is replaced, and the service goes on."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from strongroom.testing.server import initialize, running_server
from strongroom.testing.softhsm import SoftHsm
from tests.hsm import hsm_options, new_token

KEYS = 8
RECOVERY_SECONDS = 90


@contextmanager
def hanging(softhsm: SoftHsm) -> Iterator[None]:
    """Hold the locks of a token's files: SoftHSM waits for them, for ever."""
    held = [os.open(path, os.O_RDWR) for path in softhsm.tokens.rglob("*") if path.is_file()]
    try:
        for descriptor in held:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except HTTPClientError:
        return "no answer"
    return ""


def test_a_hanging_hsm_is_told_and_the_process_replaced(
    tmp_path: Path, softhsm: SoftHsm, kms_client: Callable[..., Any]
) -> None:
    data = tmp_path / "data"
    initialize(data, *hsm_options(softhsm, new_token(softhsm)))
    with running_server(data) as server:
        keys = [kms_client(server).create_key()["KeyMetadata"]["KeyId"] for _ in range(KEYS)]
    with running_server(data) as server, ThreadPoolExecutor(KEYS) as threads:
        clients = [kms_client(server) for _ in keys]

        def encrypt(number: int) -> str:
            """With a key whose material is not open yet: its domain key is in the token's files."""
            return outcome(lambda: clients[number].encrypt(KeyId=keys[number], Plaintext=b"plaintext"))

        with hanging(softhsm):
            assert "DependencyTimeoutException" in set(threads.map(encrypt, range(KEYS)))
            time.sleep(3)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while any(threads.map(encrypt, range(KEYS))):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert server.process.poll() is None
