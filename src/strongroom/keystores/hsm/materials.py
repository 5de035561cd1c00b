"""Key material between the token and the database: made or moved and then wrapped; checked and opened.

Everything here is work with a session of the token, for `Token.run`. All of it raises Pkcs11Error.
"""

import hmac
from collections.abc import Collection
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM, NO_ALGORITHM
from strongroom.crypto.key_pairs import KeyPair, key_pair_from_seed
from strongroom.errors import IncorrectKeyMaterial, KeyUnavailable, UnsupportedOperation
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import HOST_IMPORT, Capabilities
from strongroom.keystores.hsm.domain_keys import SEEDS, TokenKeys
from strongroom.keystores.hsm.equivalence import cannot_be_wrapped, hashed, told_by
from strongroom.keystores.hsm.making import make_pair, make_secret
from strongroom.keystores.hsm.recovery import RecoveryRoot, for_holder, unwrap_in_token, wrap_for_holder
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import HMAC, MaterialClass, class_of
from strongroom.keystores.hsm.token import Lease
from strongroom.keystores.hsm.wrapping import BY_CBC, BY_RFC_5649, ENCRYPTED, Wrapping, lengths
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import SECRET_BYTES, SYMMETRIC_DEFAULT, fits_secret

KEY_STORE = "hsm"
"""The name of the key store, with each material."""


class Materials(NamedTuple):
    """What the token can do, which weaker ways may be gone, and for whose recovery key material is wrapped too."""

    can: Capabilities
    allowed: Collection[str]
    holder: rsa.RSAPublicKey | None = None

    def check_way(self, key_spec: str, key_usage: str) -> None:
        """Refuse what the token cannot protect, unless the operator allows a weaker way of protecting it."""
        way = self.can.way(key_spec, key_usage)
        if way is None or (way and way not in self.allowed):
            raise UnsupportedOperation(f"{key_spec} keys for {key_usage} are not supported by this key store.")

    def make(self, key: KmsKey, material_id: str, created: float, lease: Lease[TokenKeys]) -> KeyMaterial:
        """Make new material for a key, wrapped."""
        session = lease.session
        kind = class_of(key.key_spec, key.key_usage, xaes=self.can.xaes)
        if kind is None:
            return self.encrypted(key, key_pair_from_seed(key.key_spec, session.random), material_id, created, lease)
        public: bytes | None = None
        if kind.pair:
            handle, public = make_pair(session, kind, key.key_spec, self.can)
        else:
            handle = make_secret(session, kind, SECRET_BYTES[key.key_spec], self.can)
        with session.holding(handle):
            return self.wrapped(lease, kind, key, handle, self.new(key, material_id, created, public))

    def move(
        self, key: KmsKey, material: KeyMaterial, recovery: bytes, lost: RecoveryRoot, lease: Lease[TokenKeys]
    ) -> KeyMaterial:
        """Take over material of a token that is lost, opened with the recovery key. Raises HsmError."""
        session, keys = lease
        kind = class_of(key.key_spec, key.key_usage, xaes=material.algorithm == ALGORITHM_XAES_256_GCM)
        purpose = SEEDS if kind is None else kind.name
        version, _ = keys.newest(purpose)
        if kind is None:
            moved = replace(material, domain_key_version=version)
            wrapping = Wrapping(session, keys, purpose, version)
            return replace(moved, wrapped=wrapping.encrypt(lost.unwrap(recovery, ()), binding(key, moved)))
        template = Template(self.can.taken_attributes(kind))
        with session.holding(unwrap_in_token(session, self.can, lost.private, recovery, template)) as handle:
            return replace(self.taken(lease, kind, key, handle, material), recovery=recovery)

    def open(self, key: KmsKey, material: KeyMaterial, owner: Session, lease: Lease[TokenKeys]) -> int:
        """Open material as an object of the session `owner`.

        Raises KeyUnavailable if it was altered or is another key's, UnsupportedOperation if its way is not allowed.
        """
        kind = class_of(key.key_spec, key.key_usage, xaes=material.algorithm == ALGORITHM_XAES_256_GCM)
        if kind is None:
            raise KeyUnavailable
        wrapping = Wrapping(lease.session, lease.prepared, kind.name, material.domain_key_version)
        if _checked(wrapping, key, material) not in (BY_RFC_5649, BY_CBC):
            raise KeyUnavailable
        self.check_way(key.key_spec, key.key_usage)
        return wrapping.unwrap(self.wrap, material.wrapped, Template(self.can.opened_attributes(kind)), owner)

    def open_seed(self, key: KmsKey, material: KeyMaterial, lease: Lease[TokenKeys]) -> bytes:
        """The private key of a key that is used in software. Raises as `open`."""
        wrapping = Wrapping(lease.session, lease.prepared, SEEDS, material.domain_key_version)
        if _checked(wrapping, key, material) != ENCRYPTED:
            raise KeyUnavailable
        self.check_way(key.key_spec, key.key_usage)
        return wrapping.decrypt(material.wrapped)

    @property
    def wrap(self) -> int:
        """The mechanism that wraps key material."""
        assert self.can.wrap is not None, "needs() refuses a token without"
        return self.can.wrap

    def wrapped(
        self, lease: Lease[TokenKeys], kind: MaterialClass, key: KmsKey, handle: int, made: KeyMaterial
    ) -> KeyMaterial:
        """The material of an object that can be wrapped, wrapped for storage and for the recovery key's holder."""
        session, keys = lease
        version, _ = keys.newest(kind.name)
        made = replace(made, domain_key_version=version)
        wrapping = Wrapping(session, keys, kind.name, version)
        wrapped = wrapping.wrap(self.wrap, handle, binding(key, made))
        recovery = None if self.holder is None else wrap_for_holder(session, self.can, self.holder, handle)
        return replace(made, wrapped=wrapped, recovery=recovery)

    def taken(
        self, lease: Lease[TokenKeys], kind: MaterialClass, key: KmsKey, handle: int, new: KeyMaterial
    ) -> KeyMaterial:
        """As `wrapped`, of an object that was not made in the token: its length may be any.

        Raises IncorrectKeyMaterial for a secret of a length that does not fit, as far as its wrapping tells, and
        UnsupportedOperation for an HMAC key that the token wraps as another one, unless its hash may be taken for it.
        """
        taken = self.wrapped(lease, kind, key, handle, new)
        if not kind.pair and not any(fits_secret(key.key_spec, length) for length in lengths(taken.wrapped)):
            raise IncorrectKeyMaterial
        if kind.name != HMAC or self._is_same(lease, key, handle, taken):
            return taken
        if HOST_IMPORT not in self.allowed:
            raise cannot_be_wrapped(key.key_spec)
        with hashed(lease.session, kind, key.key_spec, handle, self.can) as equivalent:
            taken = self.wrapped(lease, kind, key, equivalent, new)
        if not self._is_same(lease, key, handle, taken):
            raise cannot_be_wrapped(key.key_spec)
        return taken

    def _is_same(self, lease: Lease[TokenKeys], key: KmsKey, handle: int, taken: KeyMaterial) -> bool:
        """Whether an HMAC key is the same still after it was wrapped for storage."""
        session = lease.session
        with session.holding(self.open(key, taken, session, lease)) as stored:
            return hmac.compare_digest(told_by(session, stored, key), told_by(session, handle, key))

    def encrypted(
        self, key: KmsKey, pair: KeyPair, material_id: str, created: float, lease: Lease[TokenKeys]
    ) -> KeyMaterial:
        """The material of a key that is used in software: encrypted for storage, wrapped for the holder."""
        session, keys = lease
        version, _ = keys.newest(SEEDS)
        made = replace(self.new(key, material_id, created, pair.public), domain_key_version=version)
        wrapped = Wrapping(session, keys, SEEDS, version).encrypt(pair.private, binding(key, made))
        recovery = None if self.holder is None else for_holder(self.holder, pair.private)
        return replace(made, wrapped=wrapped, recovery=recovery)

    def new(self, key: KmsKey, material_id: str, created: float, public: bytes | None) -> KeyMaterial:
        """The material of a key, before it is wrapped."""
        algorithm = NO_ALGORITHM
        if key.key_spec == SYMMETRIC_DEFAULT:
            algorithm = ALGORITHM_XAES_256_GCM if self.can.xaes else ALGORITHM_AES_256_GCM
        return KeyMaterial(
            account=key.account,
            region=key.region,
            key_id=key.key_id,
            material_id=material_id,
            algorithm=algorithm,
            key_store=KEY_STORE,
            domain_key_version=0,
            wrapped=b"",
            created=created,
            public_key=public,
        )


def binding(key: KmsKey, material: KeyMaterial) -> tuple[bytes, ...]:
    """Everything that fixes what a material is and whose, for its code to authenticate: its public half too."""
    names = (
        "key-material", material.account, material.bound_region(key), material.key_id, material.material_id,
        str(material.algorithm), material.key_store, key.key_spec, key.key_usage,
    )  # fmt: skip
    return (*(name.encode() for name in names), material.public_key or b"")


def _checked(wrapping: Wrapping, key: KmsKey, material: KeyMaterial) -> int:
    """Return how material is wrapped. Raises KeyUnavailable if it is not this key's, or was altered."""
    if material.key_store != KEY_STORE:
        raise KeyUnavailable
    return wrapping.check(material.wrapped, binding(key, material))
