"""External keys: what the XKS proxy encrypts and decrypts with (docs/formats/external-keys.md).

Their material is made, wrapped and opened by the key store of the installation, as that of a KMS key which cannot be:
its account is none that AWS has. So neither can be taken for the other. A key can also be an object that was in the
token of the installation before.
"""

import os
from hmac import compare_digest
from struct import Struct
from threading import Lock
from typing import NamedTuple

from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM, MATERIAL_ID_LENGTH
from strongroom.crypto.xaes import NONCE_LENGTH, TAG_LENGTH
from strongroom.errors import (
    ConfigurationError,
    InvalidCiphertext,
    KMSInternal,
    RequestError,
    UnsupportedOperation,
)
from strongroom.keystores.contract import KeyStore, RawSymmetricKey
from strongroom.keystores.hsm.objects import KEY_STORE as OBJECT
from strongroom.keystores.hsm.objects import TokenObjects
from strongroom.messages.xks import integrity_value
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT
from strongroom.model.key_states import ENABLED
from strongroom.model.xks import ExternalKey

ACCOUNT = "xks-proxy"
"""The account of the KMS keys that external keys are to a key store. Accounts of AWS have twelve digits."""
MAX_PLAINTEXT_LENGTH = 8192
"""Bytes. AWS KMS needs 4300, and HSMs take little more at once."""
MAX_AAD_LENGTH = 2**16 - 1
"""Bytes. AWS KMS needs 8192."""
IV_LENGTH = 12
"""Bytes of an initialization vector."""
WELL_SECONDS = 5.0
"""How long it is taken to be as it was found."""

_METADATA_IV = {ALGORITHM_XAES_256_GCM: NONCE_LENGTH - IV_LENGTH, ALGORITHM_AES_256_GCM: 0}
"""Algorithm -> how many bytes of the nonce stand in the metadata, after the version. The rest is the vector."""
_AAD_LENGTH = Struct(">H")
_TRIAL_KEY = ("", "trial key")
"""The prefix and id of keys that are made to be tried. No external key can have that id."""


class Encrypted(NamedTuple):
    """What the proxy answers to Encrypt. `integrity` is the integrity value, if it was asked for."""

    ciphertext: bytes
    iv: bytes
    tag: bytes
    metadata: bytes
    integrity: bytes | None


class OpenedExternalKey:
    """An external key, ready for use. Safe to share between threads.

    Its methods run where the key store's calls run. They raise UnsupportedOperation for more bytes than it takes.
    """

    __slots__ = ("_key", "_version")

    def __init__(self, key: RawSymmetricKey) -> None:
        self._key = key
        self._version = bytes([key.algorithm])

    def encrypt(self, plaintext: bytes, aad: bytes, *, integrity: bool) -> Encrypted:
        """Encrypt with a fresh nonce; with `integrity`, decrypt it again after its integrity value was made.

        Raises LimitExceeded if the key has encrypted as often as it can, KMSInternal if what it encrypted is not right.
        """
        _check_length(plaintext)
        in_metadata = _METADATA_IV[self._key.algorithm]
        nonce = os.urandom(in_metadata + IV_LENGTH)
        metadata = self._version + nonce[:in_metadata]
        sealed = self._key.seal(nonce, plaintext, associated_data(aad, metadata))
        ciphertext, iv, tag = sealed[:-TAG_LENGTH], nonce[in_metadata:], sealed[-TAG_LENGTH:]
        if not integrity:
            return Encrypted(ciphertext, iv, tag, metadata, None)
        # The value comes first: what happens to the bytes after the trial, it tells.
        value = integrity_value(aad, metadata, iv, ciphertext, tag)
        try:
            decrypted = self.decrypt(ciphertext, iv, tag, metadata, aad)
        except InvalidCiphertext:
            raise _wrongly_encrypted() from None
        if not compare_digest(decrypted, plaintext):
            raise _wrongly_encrypted()
        return Encrypted(ciphertext, iv, tag, metadata, value)

    def decrypt(self, ciphertext: bytes, iv: bytes, tag: bytes, metadata: bytes, aad: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        _check_length(ciphertext)
        if metadata[:1] != self._version or len(metadata) != 1 + _METADATA_IV[self._key.algorithm]:
            raise InvalidCiphertext
        if len(iv) != IV_LENGTH or len(tag) != TAG_LENGTH:
            raise InvalidCiphertext
        return self._key.unseal(metadata[1:] + iv, ciphertext + tag, associated_data(aad, metadata))


class ExternalKeys:
    """Makes external keys and opens them. It stores nothing itself.

    `KeyStore.forget`, with the prefix as the Region, drops what is open of a key. All methods run where the calls of
    the key store do.
    """

    def __init__(self, key_store: KeyStore, objects: TokenObjects | None) -> None:
        """`objects` are those of the installation's token, if it has one."""
        self._key_store = key_store
        self._objects = objects
        self._trial = Lock()
        """Held by whoever tries the key store again."""
        self._tried: float | None = None
        self._well = False

    def new(self, prefix: str, external_key_id: str, now: float) -> ExternalKey:
        """Make a key. Raises UnsupportedOperation if the key store cannot protect it, KMSInternal."""
        unmade = self._unmade(prefix, external_key_id, now)
        key, _ = key_and_material(unmade)
        return with_material(
            unmade, self._key_store.generate(key, material_id=unmade.material_id, created=unmade.created)
        )

    def attach(self, prefix: str, external_key_id: str, label: str, now: float, *, uses: int) -> ExternalKey:
        """Take an object of the token for a key: the one AES-256 key that has a label. It stays where it is.

        Its uses are counted from `uses` on, and for this external key alone: an object is to be one key at a time.
        Raises ConfigurationError without an HSM, HsmError if it cannot be used, KMSInternal.
        """
        if self._objects is None:
            raise ConfigurationError("this installation has no HSM: there is no object to attach")
        self._objects.check(label.encode())
        return replace(
            self._unmade(prefix, external_key_id, now),
            algorithm=ALGORITHM_AES_256_GCM,
            key_store=OBJECT,
            wrapped=label.encode(),
            uses=uses,
        )

    def open(self, external_key: ExternalKey) -> OpenedExternalKey:
        """Open a key, whether it is enabled or not.

        Raises KeyUnavailable if the record was altered, is another key's, or names an object that is not there or not
        as it must be; UnsupportedOperation if it is protected in a way that is not allowed any more; KMSInternal.
        """
        key, material = key_and_material(external_key)
        if external_key.key_store == OBJECT and self._objects is not None:
            return OpenedExternalKey(self._objects.open(key, material))
        return OpenedExternalKey(self._key_store.open_symmetric(key, material))

    def is_well(self, now: float) -> bool:
        """Whether the key store makes keys, opens them and does with them what it must, as of the last few seconds.

        `now` is in seconds since the epoch. A key is made for it, and forgotten. Nobody waits for another's trial:
        where the store's calls run, that would look like one that hangs.
        """
        if self._tried is None:
            self._try(now)
        elif abs(now - self._tried) >= WELL_SECONDS and self._trial.acquire(blocking=False):
            try:
                self._try(now)
            finally:
                self._trial.release()
        return self._well

    def _try(self, now: float) -> None:
        self._well = self._is_well_now(now)
        self._tried = now

    def _is_well_now(self, now: float) -> bool:
        try:
            unmade = self._unmade(*_TRIAL_KEY, now)  # which asks for random bytes
        except RequestError:
            return False
        try:
            key, _ = key_and_material(unmade)
            material = self._key_store.generate(key, material_id=unmade.material_id, created=now)
            opened = self._key_store.open_symmetric(key, material)
            nonce = bytes(_METADATA_IV[opened.algorithm] + IV_LENGTH)
            # A token that refuses is asked to do what is right (`hsm/blame.py`): to encrypt, uncounted, and to decrypt.
            opened.unseal(nonce, bytes(TAG_LENGTH), b"")
        except InvalidCiphertext:
            return True
        except UnsupportedOperation:
            return True  # it answers, and has objects alone
        except RequestError:
            return False
        finally:
            self._key_store.forget(unmade.prefix, unmade.material_id)
        return False

    def _unmade(self, prefix: str, external_key_id: str, now: float) -> ExternalKey:
        return ExternalKey(
            prefix=prefix,
            external_key_id=external_key_id,
            created=now,
            enabled=True,
            material_id=self._key_store.random_bytes(MATERIAL_ID_LENGTH).hex(),
            algorithm=ALGORITHM_XAES_256_GCM,
            key_store=self._key_store.name,
            domain_key_version=0,
            wrapped=b"",
        )


def key_and_material(external_key: ExternalKey) -> tuple[KmsKey, KeyMaterial]:
    """What an external key is to a key store: a KMS key of no account, in a Region that is the prefix."""
    key = KmsKey(
        account=ACCOUNT,
        region=external_key.prefix,
        key_id=external_key.external_key_id,
        key_spec=SYMMETRIC_DEFAULT,
        key_usage=ENCRYPT_DECRYPT,
        origin="XKS_PROXY",
        state=ENABLED,
        description="",
        policy="",
        tags=(),
        created=external_key.created,
        current_material_id=external_key.material_id,
    )
    # Without its uses, which change: it is the same material still.
    material = KeyMaterial(
        account=ACCOUNT,
        region=external_key.prefix,
        key_id=external_key.external_key_id,
        material_id=external_key.material_id,
        algorithm=external_key.algorithm,
        key_store=external_key.key_store,
        domain_key_version=external_key.domain_key_version,
        wrapped=external_key.wrapped,
        created=external_key.created,
        recovery=external_key.recovery,
    )
    return key, material


def with_material(external_key: ExternalKey, material: KeyMaterial) -> ExternalKey:
    """An external key with the material that a key store made, or wrapped anew, for it."""
    uses = (external_key.uses or 0) if material.algorithm == ALGORITHM_AES_256_GCM else None
    return replace(
        external_key,
        algorithm=material.algorithm,
        key_store=material.key_store,
        domain_key_version=material.domain_key_version,
        wrapped=material.wrapped,
        uses=uses,
        recovery=material.recovery,
    )


def associated_data(aad: bytes, metadata: bytes) -> bytes:
    """What the cipher authenticates beside the ciphertext: both, with their lengths, as AWS recommends.

    Of metadata there are at most 255 bytes. Raises UnsupportedOperation if there is too much of the other.
    """
    if len(aad) > MAX_AAD_LENGTH:
        raise UnsupportedOperation(f"At most {MAX_AAD_LENGTH} bytes of additional authenticated data are supported.")
    return b"".join((_AAD_LENGTH.pack(len(aad)), aad, bytes([len(metadata)]), metadata))


def _check_length(text: bytes) -> None:
    if len(text) > MAX_PLAINTEXT_LENGTH:
        raise UnsupportedOperation(f"At most {MAX_PLAINTEXT_LENGTH} bytes are supported.")


def _wrongly_encrypted() -> KMSInternal:
    return KMSInternal("What was encrypted did not decrypt.")
