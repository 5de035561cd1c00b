"""MongoDB's client-side field-level encryption, as MongoDB's drivers run it, with a key vault in memory.

libmongocrypt does no input or output of its own: it makes the bytes of each request to a KMS and reads those of the
answer, and `kms_request` carries them.
"""

import base64
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import bson
from pymongocrypt.mongocrypt import MongoCryptKmsContext
from pymongocrypt.options import MongoCryptOptions
from pymongocrypt.synchronous.explicit_encrypter import ExplicitEncrypter
from pymongocrypt.synchronous.state_machine import MongoCryptCallback

from tests.compat.answering import answer_lines

TRUST = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])


class Driver(MongoCryptCallback):  # type: ignore[misc]  # untyped
    """What libmongocrypt asks of a driver of MongoDB, for one client with a key vault of its own."""

    def __init__(self, vault: list[bytes]) -> None:
        self.vault = vault

    def kms_request(self, kms_context: MongoCryptKmsContext) -> None:
        host, port = kms_context.endpoint.rsplit(":", 1)
        with (
            socket.create_connection((host, int(port)), timeout=20) as connection,
            TRUST.wrap_socket(connection, server_hostname=host) as tls,
        ):
            tls.sendall(kms_context.message)
            while kms_context.bytes_needed > 0:
                received = tls.recv(kms_context.bytes_needed)
                if not received:
                    raise ConnectionError("the answer is cut short")
                kms_context.feed(received)

    def fetch_keys(self, filter: bytes) -> Iterator[bytes]:  # noqa: A002 — pymongocrypt's name
        yield from self.vault

    def insert_data_key(self, data_key: bytes) -> bytes:
        self.vault.append(data_key)
        return bytes(bson.decode(data_key)["_id"])

    def bson_encode(self, doc: dict[str, Any]) -> bytes:
        encoded: bytes = bson.encode(doc)
        return encoded

    def collection_info(self, database: str, filter: bytes) -> bytes:  # noqa: A002 — pymongocrypt's name
        raise NotImplementedError

    def mark_command(self, database: str, cmd: bytes) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass


def encrypter(aws: dict[str, str], vault: list[bytes]) -> ExplicitEncrypter:
    """A new client, which has no data key in its cache."""
    return ExplicitEncrypter(Driver(vault), MongoCryptOptions({"aws": aws}))


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def create_data_key(aws: dict[str, str], master_key: dict[str, str]) -> str:
    """Return the document that is kept in the key vault."""
    vault: list[bytes] = []
    encrypter(aws, vault).create_data_key("aws", master_key)
    return text(vault[0])


def encrypt(aws: dict[str, str], data_key: str, value: str, algorithm: str) -> str:
    document = base64.b64decode(data_key)
    key_id = bytes(bson.decode(document)["_id"])
    return text(encrypter(aws, [document]).encrypt(bson.encode({"v": value}), algorithm, key_id))


def decrypt(aws: dict[str, str], data_key: str, encrypted: str) -> str:
    value: str = bson.decode(encrypter(aws, [base64.b64decode(data_key)]).decrypt(base64.b64decode(encrypted)))["v"]
    return value


def rewrap(aws: dict[str, str], data_key: str, master_key: dict[str, str]) -> str:
    """Return the document with its data key wrapped by another KMS key."""
    document = base64.b64decode(data_key)
    changed = encrypter(aws, [document]).rewrap_many_data_key({}, "aws", master_key)
    return text(bson.encode({**bson.decode(document), **bson.decode(changed)["v"][0]}))


def damage(data_key: str) -> str:
    """Return the document with one bit of the wrapped data key changed."""
    document = bson.decode(base64.b64decode(data_key))
    wrapped = document["keyMaterial"]
    return text(bson.encode({**document, "keyMaterial": wrapped[:-1] + bytes([wrapped[-1] ^ 1])}))


if __name__ == "__main__":
    answer_lines(create_data_key, encrypt, decrypt, rewrap, damage)
