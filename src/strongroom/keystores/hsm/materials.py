"""Key material between the token and the database: made, imported or moved and then wrapped; checked and opened.

Everything here is work with a session of the token, for `Token.run`. All of it raises Pkcs11Error.
"""

import sys
from collections.abc import Collection
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM, NO_ALGORITHM
from strongroom.crypto.key_pairs import key_pair_from_seed
from strongroom.errors import InvalidCiphertext, KeyUnavailable, UnsupportedOperation
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.domain_keys import SEEDS, TokenKeys
from strongroom.keystores.hsm.failures import DataRefusedError, NotPossibleError, UnclearError
from strongroom.keystores.hsm.making import make_pair, make_secret
from strongroom.keystores.hsm.mechanisms import OAEP_MECHANISMS
from strongroom.keystores.hsm.recovery import RecoveryRoot, for_holder, unwrap_in_token, wrap_for_holder
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import CLASSES, RSA_IMPORT, MaterialClass, class_of
from strongroom.keystores.hsm.token import Lease
from strongroom.keystores.hsm.wrapping import BY_CBC, BY_RFC_5649, ENCRYPTED, Wrapping
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import SECRET_BYTES, SYMMETRIC_DEFAULT

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
            return self._made_seed(key, material_id, created, lease)
        public: bytes | None = None
        if kind.pair:
            handle, public = make_pair(session, kind, key.key_spec, self.can)
        else:
            handle = make_secret(session, kind, SECRET_BYTES[key.key_spec], self.can)
        with session.holding(handle):
            return self._wrapped(lease, kind, key, handle, self._new(key, material_id, created, public))

    def make_import_key(self, key: KmsKey, key_spec: str, lease: Lease[TokenKeys]) -> ImportKey:
        """Make an RSA key pair that unwraps material and does nothing else, wrapped."""
        session, keys = lease
        version, _ = keys.newest(RSA_IMPORT)
        handle, public = make_pair(session, CLASSES[RSA_IMPORT], key_spec, self.can)
        with session.holding(handle):
            made = ImportKey(key_spec, KEY_STORE, version, b"", public)
            wrapping = Wrapping(session, keys, RSA_IMPORT, version)
            return replace(made, wrapped=wrapping.wrap(self._wrap, handle, import_binding(key, made)))

    def import_(
        self,
        key: KmsKey,
        import_key: ImportKey,
        algorithm: str,
        encrypted: bytes,
        material_id: str,
        created: float,
        lease: Lease[TokenKeys],
    ) -> KeyMaterial:
        """Take over a secret that was encrypted for an import key. Raises InvalidCiphertext, KeyUnavailable."""
        session = lease.session
        kind = class_of(key.key_spec, key.key_usage, xaes=self.can.xaes)
        if kind is None or kind.pair:
            raise UnsupportedOperation(f"Import of {key.key_spec} keys is not supported by this key store.")
        with session.holding(self._opened_import_key(key, import_key, lease)) as opener:
            try:
                mechanism, template = OAEP_MECHANISMS[algorithm], Template(self.can.taken_attributes(kind))
                with session.holding(session.unwrap(mechanism, opener, encrypted, template)) as handle:
                    _check_length(session, handle, SECRET_BYTES[key.key_spec])
                    return self._wrapped(lease, kind, key, handle, self._new(key, material_id, created, None))
            except (DataRefusedError, UnclearError, NotPossibleError):  # a length that cannot be wrapped, too
                raise InvalidCiphertext from None

    def move(
        self, key: KmsKey, material: KeyMaterial, recovery: bytes, lost: RecoveryRoot, lease: Lease[TokenKeys]
    ) -> KeyMaterial:
        """Take over material of a token that is lost, opened with the recovery key. Raises HsmError."""
        session, keys = lease
        kind = class_of(key.key_spec, key.key_usage, xaes=material.algorithm == ALGORITHM_XAES_256_GCM)
        purpose = SEEDS if kind is None else kind.name
        version, _ = keys.newest(purpose)
        moved = replace(material, domain_key_version=version)
        wrapping = Wrapping(session, keys, purpose, version)
        if kind is None:
            return replace(moved, wrapped=wrapping.encrypt(lost.unwrap(recovery, ()), binding(key, moved)))
        template = Template(self.can.taken_attributes(kind))
        with session.holding(unwrap_in_token(session, self.can, lost.private, recovery, template)) as handle:
            return replace(moved, wrapped=wrapping.wrap(self._wrap, handle, binding(key, moved)))

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
        return wrapping.unwrap(self._wrap, material.wrapped, Template(self.can.opened_attributes(kind)), owner)

    def open_seed(self, key: KmsKey, material: KeyMaterial, lease: Lease[TokenKeys]) -> bytes:
        """The private key of a key that is used in software. Raises as `open`."""
        wrapping = Wrapping(lease.session, lease.prepared, SEEDS, material.domain_key_version)
        if _checked(wrapping, key, material) != ENCRYPTED:
            raise KeyUnavailable
        self.check_way(key.key_spec, key.key_usage)
        return wrapping.decrypt(material.wrapped)

    @property
    def _wrap(self) -> int:
        assert self.can.wrap is not None, "needs() refuses a token without"
        return self.can.wrap

    def _wrapped(
        self, lease: Lease[TokenKeys], kind: MaterialClass, key: KmsKey, handle: int, made: KeyMaterial
    ) -> KeyMaterial:
        """The material of an object that can be wrapped. Raises InvalidCiphertext if a secret has not its length."""
        session, keys = lease
        version, _ = keys.newest(kind.name)
        made = replace(made, domain_key_version=version)
        wrapping = Wrapping(session, keys, kind.name, version)
        wrapped = wrapping.wrap(self._wrap, handle, binding(key, made))
        if not kind.pair and not wrapping.could_hold(wrapped, SECRET_BYTES[key.key_spec]):
            raise InvalidCiphertext
        recovery = None if self.holder is None else wrap_for_holder(session, self.can, self.holder, handle)
        return replace(made, wrapped=wrapped, recovery=recovery)

    def _made_seed(self, key: KmsKey, material_id: str, created: float, lease: Lease[TokenKeys]) -> KeyMaterial:
        session, keys = lease
        pair = key_pair_from_seed(key.key_spec, session.random)
        version, _ = keys.newest(SEEDS)
        made = replace(self._new(key, material_id, created, pair.public), domain_key_version=version)
        wrapped = Wrapping(session, keys, SEEDS, version).encrypt(pair.private, binding(key, made))
        recovery = None if self.holder is None else for_holder(self.holder, pair.private)
        return replace(made, wrapped=wrapped, recovery=recovery)

    def _opened_import_key(self, key: KmsKey, import_key: ImportKey, lease: Lease[TokenKeys]) -> int:
        session, keys = lease
        wrapping = Wrapping(session, keys, RSA_IMPORT, import_key.domain_key_version)
        how = wrapping.check(import_key.wrapped, import_binding(key, import_key))
        if import_key.key_store != KEY_STORE or how not in (BY_RFC_5649, BY_CBC):
            raise KeyUnavailable
        template = Template(self.can.opened_attributes(CLASSES[RSA_IMPORT]))
        return wrapping.unwrap(self._wrap, import_key.wrapped, template, session)

    def _new(self, key: KmsKey, material_id: str, created: float, public: bytes | None) -> KeyMaterial:
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
        "key-material", material.account, material.region, material.key_id, material.material_id,
        str(material.algorithm), material.key_store, key.key_spec, key.key_usage,
    )  # fmt: skip
    return (*(name.encode() for name in names), material.public_key or b"")


def import_binding(key: KmsKey, import_key: ImportKey) -> tuple[bytes, ...]:
    """Everything that fixes what an import key is, and for which KMS key."""
    names = ("import-key", key.account, key.region, key.key_id, key.key_spec, key.key_usage, import_key.key_spec)
    return (*(name.encode() for name in names), import_key.public_key)


def _checked(wrapping: Wrapping, key: KmsKey, material: KeyMaterial) -> int:
    """Return how material is wrapped. Raises KeyUnavailable if it is not this key's, or was altered."""
    if material.key_store != KEY_STORE:
        raise KeyUnavailable
    return wrapping.check(material.wrapped, binding(key, material))


def _check_length(session: Session, handle: int, length: int) -> None:
    """Refuse a secret of another length, as far as the token tells it (0: it does not)."""
    (told,) = session.attributes(handle, [p11.CKA_VALUE_LEN])
    if told is not None and int.from_bytes(told, sys.byteorder) not in (0, length):
        raise InvalidCiphertext
