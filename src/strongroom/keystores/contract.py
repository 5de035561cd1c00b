"""Where key material lives and is used: the contract that every key store fulfils.

One test suite (`tests/contracts/test_key_store.py`) runs on every implementation.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar

from strongroom.crypto.ciphertext_blob import CiphertextBlob
from strongroom.crypto.key_pairs import KeyPair
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey

Result = TypeVar("Result")


class SymmetricKey(Protocol):
    """Key material of a symmetric encryption key, ready for use. Safe to share between threads."""

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob (docs/formats/ciphertext-blob.md). Draws fresh randomness."""
        ...

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        ...


class RawSymmetricKey(SymmetricKey, Protocol):
    """A symmetric encryption key whose cipher can be used without the form of the ciphertext blob."""

    @property
    def algorithm(self) -> int:
        """The cipher, as ciphertext blobs name it, which also says how long its nonces are."""
        ...

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the ciphertext and its 16-byte tag. `nonce` is random, of the cipher's length, and never used twice.

        Raises ValueError for a nonce of another length.
        """
        ...

    def unseal(self, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext of a ciphertext and its tag. Raises InvalidCiphertext, also for wrong lengths."""
        ...


class MacKey(Protocol):
    """Key material of an HMAC key, ready for use. Safe to share between threads."""

    def generate(self, algorithm: str, message: bytes) -> bytes:
        """Return the whole MAC of a message."""
        ...

    def verify(self, algorithm: str, message: bytes, mac: bytes) -> None:
        """Raise KMSInvalidMac unless the MAC is the message's."""
        ...


class SigningKey(Protocol):
    """Signs. Safe to share between threads."""

    def sign(self, algorithm: str, message_type: str, message: bytes) -> bytes:
        """Return a signature in the algorithm's own form, of a message of the length that its type has."""
        ...


class DecryptionKey(Protocol):
    """Decrypts what was encrypted with the public key. Safe to share between threads."""

    def decrypt(self, algorithm: str, ciphertext: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext."""
        ...


class AgreementKey(Protocol):
    """Agrees on secrets. Safe to share between threads."""

    def shared_secret(self, public_key: bytes) -> bytes:
        """Return the raw secret shared with the owner of a public key. Raises Validation if it is none that fits."""
        ...


class DecapsulationKey(Protocol):
    """Takes shared secrets out of ciphertexts. Safe to share between threads."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the shared secret. Raises InvalidCiphertext for a wrong length alone."""
        ...


class Threads(Protocol):
    """Threads that calls run on, each with a limit in time."""

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401 — passed on
        """Call a function on one of them. Raises what it raises; DependencyTimeout if it takes too long."""
        ...


async def run_on(
    threads: Threads | Executor,
    function: Callable[..., Result],
    *arguments: Any,  # noqa: ANN401 — passed on
) -> Result:
    """Call a function where it may wait. Raises what it raises, and DependencyTimeout."""
    if isinstance(threads, Executor):
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)
    return await threads.run(function, *arguments)


class KeyStore(Protocol):
    """Makes key material, wraps it for storage, and opens it for use.

    The keys of a multi-Region key open each other's stored material (`KeyMaterial.bound_region`): what the store wraps
    for one of them is copied to the others as it is.

    There is one way to open for each key usage. Opened material is kept, so that a repeated call costs a lookup. To
    open raises KeyUnavailable if the material does not unwrap: altered, or wrapped for another key.
    """

    @property
    def name(self) -> str:
        """Stored with each key material: which store can open it."""
        ...

    @property
    def calls(self) -> Threads | None:
        """Where its calls must run, since they wait for something outside the process. None: they can run anywhere."""
        ...

    @property
    def generation(self) -> Threads | None:
        """Where `generate` and `generate_key_pair` must run. None: on any thread but the event loop's."""
        ...

    def check_kind(self, key_spec: str, key_usage: str) -> None:
        """Raise UnsupportedOperation if the store cannot protect keys of a kind: none is made, and none imported."""
        ...

    def generate(self, key: KmsKey, *, material_id: str, created: float) -> KeyMaterial:
        """Make new material for a key of any spec, wrapped for storage. Stores nothing itself.

        Takes seconds for RSA: not for the event loop. Raises Throttling if too many RSA keys are being made.
        """
        ...

    def new_import_key(self, key: KmsKey, key_spec: str, algorithm: str) -> ImportKey:
        """Make the RSA key pair under which material for a key is to be wrapped by an algorithm (`ImportKey`).

        As `generate` in time and errors; raises UnsupportedOperation if the store would not take material so wrapped.
        """
        ...

    def import_material(self, key: KmsKey, import_key: ImportKey, encrypted: bytes, *, created: float) -> KeyMaterial:
        """Take over material that was wrapped under an import key. Stores nothing itself.

        Its id follows from it and from the key: the same again has the same. Secrets are raw, private keys PKCS #8.
        Raises InvalidCiphertext if it does not unwrap, IncorrectKeyMaterial if it is not as the key spec says,
        KeyUnavailable if the import key is another KMS key's or was altered. May take a tenth of a second.
        """
        ...

    def generate_key_pair(self, key_spec: str) -> KeyPair:
        """Make a data key pair, which is nobody's material. As `generate` in time and errors."""
        ...

    def open_symmetric(self, key: KmsKey, material: KeyMaterial) -> RawSymmetricKey:
        """Open the material of a symmetric encryption key."""
        ...

    def open_mac(self, key: KmsKey, material: KeyMaterial) -> MacKey:
        """Open the material of an HMAC key."""
        ...

    def open_signing(self, key: KmsKey, material: KeyMaterial) -> SigningKey:
        """Open the private key of a signing key."""
        ...

    def open_decryption(self, key: KmsKey, material: KeyMaterial) -> DecryptionKey:
        """Open the private key of an asymmetric encryption key."""
        ...

    def open_agreement(self, key: KmsKey, material: KeyMaterial) -> AgreementKey:
        """Open the private key of a key agreement key."""
        ...

    def open_decapsulation(self, key: KmsKey, material: KeyMaterial) -> DecapsulationKey:
        """Open the private key of a key encapsulation key."""
        ...

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region. Idempotent."""
        ...

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes fit for keys, from the store's own generator."""
        ...


class CustomKeyStoreConnection(Protocol):
    """A custom key store that is connected, in this process. Symmetric encryption keys only.

    Its methods wait for something outside the process: they are called on `calls`. They fail as the operations of KMS
    do on such a store: KMSInvalidState if it does not do what it must (CreateKey has errors of its own).
    """

    @property
    def calls(self) -> Threads:
        """Where its methods must run: what hangs there holds up nothing else."""
        ...

    def new_material(self, use: KeyStoreUse, key: KmsKey, *, material_id: str, created: float) -> KeyMaterial:
        """Make the material of a new key, or, of an external key, see that it can be used.

        Raises UnsupportedOperation, CustomKeyStoreInvalidState, XksKeyNotFound, XksKeyInvalidConfiguration.
        """
        ...

    def connect(self, request_id: str) -> None:
        """See that the store can be used, and log in where that needs a login. Raises ConnectionFailedError."""
        ...

    def check(self, request_id: str) -> str | None:
        """Look how the store is, from time to time: what is wrong with it, in plain words, or None."""
        ...

    def discard(self, key: KmsKey, material_id: str) -> None:
        """Take back what `new_material` made for a key that did not come into being. Fails for nobody."""
        ...

    def destroy(self, key_arn: str, material_ids: Sequence[str]) -> Collection[str]:
        """Destroy the material of a key that was deleted, where the store has it: return what is gone for certain."""
        ...

    def open_symmetric(self, use: KeyStoreUse, key: KmsKey, material: KeyMaterial) -> SymmetricKey:
        """Open the material of a key for one use."""
        ...

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes fit for keys, from the store's own generator if it has one."""
        ...

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region. Idempotent."""
        ...

    def close(self) -> None:
        """Disconnect. Idempotent, and fails for nobody."""
        ...
