"""The domain keys: one family per purpose, versioned, each wrapped by the root (docs/formats/wrapped-keys.md).

The newest version of a purpose is used for new work; older ones still open what they wrapped.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from msgspec.structs import replace

from strongroom.crypto import sealing
from strongroom.crypto.framing import frame
from strongroom.crypto.xaes import KEY_LENGTH, XaesKey
from strongroom.errors import IntegrityError
from strongroom.keystores.grant_tokens import GrantTokens
from strongroom.keystores.import_tokens import ImportTokens
from strongroom.keystores.material_ids import MaterialIds
from strongroom.keystores.sealed import SealingKeys
from strongroom.keystores.session_tokens import SessionTokens
from strongroom.model.domain_key import DomainKey

KEY_MATERIAL = "key-material"
"""XAES-256-GCM: wraps the material of KMS keys in the software key store."""
ROW_AUTHENTICATION = "row-authentication"
"""HMAC-SHA-256, 32 bytes: authenticates database rows and the change feed; names imported key material."""
SEALED_SECRETS = "sealed-secrets"
"""XAES-256-GCM: wraps secrets that must be read again, such as SigV4 secret access keys, and grant tokens."""
_STORE_SECRET = (SEALED_SECRETS, "custom-key-store")
_XKS_SECRET = (SEALED_SECRETS, "xks-credential")
AUDIT_DIGEST = "audit-digest"
"""RSA-2048, PKCS #8: signs audit digests, SHA256withRSA as CloudTrail's."""
HSM = "hsm"
"""The domain keys that are in a token, all of one version: nothing of them is stored."""
AUDIT_CHAIN = "audit-chain"
"""HPKE private key, 32 bytes: opens the starting MAC keys of audit chains. No serving process keeps it."""

_FIRST_VERSION = 1
_RSA_EXPONENT = 65537
_RSA_BITS = 2048  # what CloudTrail signs its digests with


class Root(Protocol):
    """What protects the domain keys at rest: the root key of a file, or the keys in a token."""

    def wrap(self, secret: bytes, binding: tuple[str, ...]) -> bytes:
        """Wrap `secret` for storage."""
        ...

    def unwrap(self, wrapped: bytes, binding: tuple[str, ...]) -> bytes:
        """Return what `wrap` was given. Raises RootKeyError, or IntegrityError if it was altered or moved."""
        ...


class NewDomainKeys(NamedTuple):
    """What an installation starts with: its domain keys, and the two public keys it publishes.

    `chain_public_key` is raw (32 bytes), `digest_public_key` DER SubjectPublicKeyInfo.
    """

    records: list[DomainKey]
    chain_public_key: bytes
    digest_public_key: bytes


def generate_domain_keys(
    root: Root,
    installation_id: str,
    now: float,
    *,
    in_hsm: bool = False,
    for_holder: Callable[[bytes], bytes] | None = None,
) -> NewDomainKeys:
    """Make version 1 of the domain key of every purpose. Stores nothing.

    `in_hsm`: those that wrap key material are in a token, which has made them already. `for_holder` wraps the others
    for the holder of the recovery key.
    """
    digest_key = rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)
    chain_key = X25519PrivateKey.generate().private_bytes_raw()
    secrets = ({} if in_hsm else {KEY_MATERIAL: os.urandom(KEY_LENGTH)}) | {
        ROW_AUTHENTICATION: os.urandom(KEY_LENGTH),
        SEALED_SECRETS: os.urandom(KEY_LENGTH),
        AUDIT_DIGEST: digest_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        AUDIT_CHAIN: chain_key,
    }
    in_token = [DomainKey(purpose=HSM, version=_FIRST_VERSION, created=now, wrapped=b"")] if in_hsm else []
    return NewDomainKeys(
        records=in_token
        + [
            DomainKey(
                purpose=purpose,
                version=_FIRST_VERSION,
                created=now,
                wrapped=root.wrap(secret, _binding(installation_id, purpose, _FIRST_VERSION)),
                recovery=None if for_holder is None else for_holder(secret),
            )
            for purpose, secret in secrets.items()
        ],
        chain_public_key=sealing.public_key_of(chain_key),
        digest_public_key=digest_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


class SealSecret(Protocol):
    """`DomainKeys.seal_secret`."""

    def __call__(self, secret: bytes, *, account: str, access_key_id: str) -> bytes:
        """Wrap the secret of an access key for storage."""
        ...


class SealStoreSecret(Protocol):
    """`DomainKeys.seal_store_secret`."""

    def __call__(self, secret: bytes, *, account: str, region: str, custom_key_store_id: str) -> bytes:
        """Wrap the secret of a custom key store for storage."""
        ...


class Seals(NamedTuple):
    """What seals things for callers, and nothing that opens key material: tokens, and secrets of access keys.

    And secrets of custom key stores.
    """

    grant_tokens: GrantTokens
    session_tokens: SessionTokens
    import_tokens: ImportTokens
    seal_secret: SealSecret
    seal_store_secret: SealStoreSecret

    def __repr__(self) -> str:
        return "Seals()"


class DomainKeys:
    """The opened domain keys, without the root key. Each user gets only what it needs."""

    def __init__(self, opened: Mapping[str, Mapping[int, bytes]]) -> None:
        self.key_material = {version: XaesKey(key) for version, key in opened.get(KEY_MATERIAL, {}).items()}
        """Wrapping keys of key material, by version. None if they are in an HSM."""
        self.row_authentication = _newest(opened[ROW_AUTHENTICATION])
        """The key that authenticates rows and the change feed, 32 bytes."""
        self.digest_signing_key = _parse_digest_key(_newest(opened[AUDIT_DIGEST]))
        """The RSA key that signs audit digests."""
        sealed_secrets = {version: XaesKey(key) for version, key in opened[SEALED_SECRETS].items()}
        self._sealing_keys = SealingKeys(sealed_secrets)
        self.seals = Seals(
            GrantTokens(sealed_secrets),
            SessionTokens(sealed_secrets),
            ImportTokens(sealed_secrets),
            self.seal_secret,
            self.seal_store_secret,
        )
        """What seals things for callers."""
        self.material_ids = MaterialIds(_derived(_oldest(opened[ROW_AUTHENTICATION]), b"strongroom material ids"))
        """Names imported key material. The ids must never change: the first version of the key makes them."""
        self._chain_private_key: bytes | None = _newest(opened[AUDIT_CHAIN])

    def __repr__(self) -> str:
        return "DomainKeys()"

    @classmethod
    def open(cls, root: Root, installation_id: str, records: Iterable[DomainKey]) -> "DomainKeys":
        """Unwrap the stored domain keys.

        Raises RootKeyError if another root key wrapped them; IntegrityError if one was altered or moved, or if a
        purpose has none.
        """
        opened: dict[str, dict[int, bytes]] = {}
        for record in records:
            if record.purpose == HSM:
                opened[KEY_MATERIAL] = {}
                continue
            binding = _binding(installation_id, record.purpose, record.version)
            opened.setdefault(record.purpose, {})[record.version] = root.unwrap(record.wrapped, binding)
        for purpose in (KEY_MATERIAL, ROW_AUTHENTICATION, SEALED_SECRETS, AUDIT_DIGEST, AUDIT_CHAIN):
            if purpose not in opened:
                raise IntegrityError(f"the domain key for {purpose} is missing from the database")
        return cls(opened)

    @property
    def newest_key_material_version(self) -> int:
        """The version that wraps new key material."""
        return max(self.key_material)

    @property
    def chain_private_key(self) -> bytes:
        """The key that opens sealed chain keys (`sealing.open_sealed`). Raises ValueError once it is dropped."""
        if self._chain_private_key is None:
            raise ValueError("the audit chain private key was dropped")
        return self._chain_private_key

    def drop_chain_private_key(self) -> None:
        """Forget the chain's private key. A process does so before it serves, so that it cannot open its own past."""
        self._chain_private_key = None

    def seal_secret(self, secret: bytes, *, account: str, access_key_id: str) -> bytes:
        """Wrap the secret of an access key for storage; the result is 45 bytes longer. Draws a fresh nonce."""
        return self._sealing_keys.seal(secret, SEALED_SECRETS, account, access_key_id)

    def open_secret(self, sealed: bytes, *, account: str, access_key_id: str) -> bytes:
        """Return the secret of an access key. Raises IntegrityError if it was altered or is another key's."""
        try:
            return self._sealing_keys.open(sealed, SEALED_SECRETS, account, access_key_id)
        except InvalidTag:
            raise IntegrityError(f"the stored secret of access key {access_key_id} was altered") from None

    def seal_store_secret(self, secret: bytes, *, account: str, region: str, custom_key_store_id: str) -> bytes:
        """Wrap the secret of a custom key store for storage, as `seal_secret`."""
        return self._sealing_keys.seal(secret, *_STORE_SECRET, account, region, custom_key_store_id)

    def open_store_secret(self, sealed: bytes, *, account: str, region: str, custom_key_store_id: str) -> bytes:
        """Return the secret of a custom key store. Raises IntegrityError if it was altered or is another store's."""
        try:
            return self._sealing_keys.open(sealed, *_STORE_SECRET, account, region, custom_key_store_id)
        except InvalidTag:
            raise IntegrityError(f"the stored secret of {custom_key_store_id} was altered") from None

    def seal_xks_secret(self, secret: bytes, *, prefix: str, access_key_id: str) -> bytes:
        """Wrap the secret of a credential of the XKS proxy for storage, as `seal_secret`."""
        return self._sealing_keys.seal(secret, *_XKS_SECRET, prefix, access_key_id)

    def open_xks_secret(self, sealed: bytes, *, prefix: str, access_key_id: str) -> bytes:
        """Return the secret of a credential. Raises IntegrityError if it was altered or is another credential's."""
        try:
            return self._sealing_keys.open(sealed, *_XKS_SECRET, prefix, access_key_id)
        except InvalidTag:
            raise IntegrityError(f"the stored secret of credential {access_key_id} was altered") from None


def _newest(versions: Mapping[int, bytes]) -> bytes:
    return versions[max(versions)]


def _oldest(versions: Mapping[int, bytes]) -> bytes:
    return versions[min(versions)]


def _derived(key: bytes, info: bytes) -> bytes:
    """A key for another purpose, made of one of HMAC-SHA-256 (HKDF, RFC 5869, section 2.3)."""
    return HKDFExpand(SHA256(), KEY_LENGTH, info).derive(key)


def _binding(installation_id: str, purpose: str, version: int) -> tuple[str, ...]:
    return ("domain-key", installation_id, purpose, str(version))


def _parse_digest_key(der: bytes) -> rsa.RSAPrivateKey:
    key = load_der_private_key(der, password=None)
    assert isinstance(key, rsa.RSAPrivateKey), "generate_domain_keys makes RSA keys"
    return key


def wrapped_anew(
    root: Root, moved_from: Root, installation_id: str, records: Iterable[DomainKey], version_in_hsm: int, now: float
) -> list[DomainKey]:
    """The domain keys as another root protects them; those that are in a token are of one new version."""
    anew = [DomainKey(purpose=HSM, version=version_in_hsm, created=now, wrapped=b"")]
    for record in records:
        if record.purpose != HSM:
            binding = _binding(installation_id, record.purpose, record.version)
            secret = moved_from.unwrap(record.wrapped, binding)
            anew.append(replace(record, wrapped=root.wrap(secret, binding)))
    return anew


def recovery_fingerprint(records: Iterable[DomainKey]) -> str:
    """What tells the domain keys that are wrapped for the holder of the recovery key from others: 64 hex digits.

    Anybody can wrap for the holder. Who moves an installation must know that these are its keys, and not those of
    somebody who can write to the database.
    """
    wrapped = sorted((record.purpose, record.version, record.recovery or b"") for record in records if record.recovery)
    parts = [part for purpose, version, blob in wrapped for part in (purpose.encode(), str(version).encode(), blob)]
    return hashlib.sha256(frame(parts)).hexdigest()


def versions_in_hsm(records: Iterable[DomainKey]) -> frozenset[int]:
    """The versions of the domain keys that are in a token; none if the installation has a root key file."""
    return frozenset(record.version for record in records if record.purpose == HSM)
