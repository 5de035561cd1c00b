"""The two layers of a ciphertext: how the outer one stands in a ciphertext blob, and what binds them.

The blob (`crypto/ciphertext_blob.py`) has algorithm 3, the id of the inner layer's material, the initialization vector
of the external key manager as its nonce, and as its ciphertext:

    offset  size  field
    0       1     length of the proxy's metadata, at most 20
    1       n     the proxy's metadata
    1+n     32    the SHA-256 of the inner blob: whatever the proxy decrypts, it must be that
    33+n    m     the outer ciphertext, as long as the inner blob that it encrypts
    33+n+m  16    the outer tag

What the outer layer authenticates beside is `strongroom external key`, the byte 1, the material id (32 bytes) and the
SHA-256 of the encryption context: always as long, and the proxy does not see the context.
"""

from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from strongroom.crypto.ciphertext_blob import ALGORITHM_EXTERNAL, CiphertextBlob, build_header, parse
from strongroom.crypto.encryption_context import canonical_bytes
from strongroom.errors import InvalidCiphertext
from strongroom.keystores.contract import SymmetricKey
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.messages import MAX_METADATA_LENGTH, TAG_LENGTH, Encrypted
from strongroom.keystores.external.proxy import Proxy
from strongroom.model.custom_key_store import KeyStoreUse

_LABEL = b"strongroom external key\x01"
_HASH_LENGTH = 32


class Outer(NamedTuple):
    """An outer layer, and the SHA-256 of the inner blob."""

    encrypted: Encrypted
    inner_hash: bytes

    def pack(self) -> bytes:
        """Put it, without its initialization vector, into bytes."""
        sealed, metadata = self.encrypted, self.encrypted.ciphertext_metadata
        return bytes([len(metadata)]) + metadata + self.inner_hash + sealed.ciphertext + sealed.authentication_tag


def unpack(initialization_vector: bytes, packed: bytes) -> Outer:
    """Take an outer layer apart. Raises InvalidCiphertext."""
    metadata_end = 1 + packed[0] if packed else 0
    hash_end = metadata_end + _HASH_LENGTH
    ciphertext_end = len(packed) - TAG_LENGTH
    if not packed or packed[0] > MAX_METADATA_LENGTH or ciphertext_end < hash_end:
        raise InvalidCiphertext
    encrypted = Encrypted(
        ciphertext=packed[hash_end:ciphertext_end],
        initialization_vector=initialization_vector,
        authentication_tag=packed[ciphertext_end:],
        ciphertext_metadata=packed[1:metadata_end],
    )
    return Outer(encrypted, packed[metadata_end:hash_end])


def associated_data(material_id: str, encryption_context: dict[str, str]) -> bytes:
    """Return what the outer layer authenticates beside the inner blob."""
    return _LABEL + bytes.fromhex(material_id) + sha256(canonical_bytes(encryption_context)).digest()


class ExternalSymmetricKey:
    """Opened material of a KMS key, and its external key, for one use. Implements `SymmetricKey`."""

    def __init__(self, inner: SymmetricKey, material_id: str, proxy: Proxy, use: KeyStoreUse, xks_key_id: str) -> None:
        self._inner = inner
        self._material_id = material_id
        self._proxy = proxy
        self._use = use
        self._xks_key_id = xks_key_id

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob. Raises KMSInvalidState if the proxy does not encrypt."""
        inner = self._inner.encrypt(plaintext, encryption_context)
        bound = associated_data(self._material_id, encryption_context)
        try:
            outer = self._proxy.encrypt(self._use, self._xks_key_id, inner, bound)
        except ProxyError as error:
            raise error.of_use() from error
        packed = Outer(outer, sha256(inner).digest()).pack()
        header = build_header(ALGORITHM_EXTERNAL, self._material_id, outer.initialization_vector, len(packed))
        return header + packed

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises KMSInvalidState if either layer does not open.

        Raises InvalidCiphertext if the blob is none of this material's, or malformed: the proxy is not asked.
        """
        if blob.algorithm != ALGORITHM_EXTERNAL or blob.material_id != self._material_id:
            raise InvalidCiphertext
        outer = unpack(blob.nonce, blob.ciphertext)
        bound = associated_data(self._material_id, encryption_context)
        try:
            inner = self._proxy.decrypt(self._use, self._xks_key_id, outer.encrypted, bound)
            return self._opened(inner, outer.inner_hash, encryption_context)
        except ProxyError as error:
            raise error.of_use() from error

    def _opened(self, inner: bytes, inner_hash: bytes, encryption_context: dict[str, str]) -> bytes:
        """Open the inner layer. As AWS, callers are not told which of the two did not open.

        A proxy has seen inner blobs, and could answer with another one of the same key, context and length.
        """
        if not compare_digest(sha256(inner).digest(), inner_hash):
            raise ProxyError(Kind.INVALID_CIPHERTEXT)
        try:
            blob = parse(inner)
            if blob.material_id == self._material_id:
                return self._inner.decrypt(blob, encryption_context)
        except InvalidCiphertext:
            pass
        raise ProxyError(Kind.INVALID_CIPHERTEXT)
