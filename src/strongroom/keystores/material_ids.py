"""The ids of imported key material: the same material of the same KMS key has the same id (AWS: ImportKeyMaterial).

    id = HMAC-SHA-256 by a key of the installation over: account, key id, key spec, what the material is known by

A secret is known by a MAC that it makes itself, which a key that is in a token can make too; a key pair by its public
half. Ids are told to callers: without the installation's key nobody can try secrets out against one.
"""

import hmac

from strongroom.crypto.framing import frame
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import HMAC_SPECS

_LABEL = b"strongroom imported key material"


def challenge(key: KmsKey) -> tuple[str, bytes]:
    """The MAC algorithm and the message with which a secret shows which one it is, for a KMS key."""
    algorithm = key.key_spec.replace("HMAC", "HMAC_SHA") if key.key_spec in HMAC_SPECS else "HMAC_SHA_256"
    return algorithm, frame([_LABEL, key.account.encode(), key.key_id.encode()])


class MaterialIds:
    """Names imported material. Safe to share between threads."""

    def __init__(self, key: bytes) -> None:
        """`key` is used for nothing else, 32 bytes. With another one, material that is imported again is unknown."""
        self._key = key

    def __repr__(self) -> str:
        return "MaterialIds()"

    def name(self, key: KmsKey, known_by: bytes) -> str:
        """The id of material of a KMS key: 64 hex digits. `known_by` is its answer to `challenge`, or public half."""
        parts = [_LABEL, key.account.encode(), key.key_id.encode(), key.key_spec.encode(), known_by]
        return hmac.digest(self._key, frame(parts), "sha256").hex()
