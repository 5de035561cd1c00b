"""The HSM key store: key material is made in the token, wrapped there for storage, and opened there for use."""

import sys
import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM, NO_ALGORITHM
from strongroom.crypto.ecc import CURVES
from strongroom.crypto.key_pairs import (
    KeyPair,
    encoded,
    key_pair_from_seed,
    load_decapsulation_key,
    load_signing_key,
)
from strongroom.crypto.rsa import MODULUS_BITS, PUBLIC_EXPONENT
from strongroom.crypto.xaes import KEY_LENGTH
from strongroom.errors import (
    HsmError,
    InvalidCiphertext,
    KeyUnavailable,
    RequestError,
    Throttling,
    UnsupportedOperation,
)
from strongroom.keystores.contract import (
    AgreementKey,
    DecapsulationKey,
    DecryptionKey,
    MacKey,
    SigningKey,
    SymmetricKey,
)
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.capabilities import HOST_OAEP_SHA_256, Capabilities, subkey
from strongroom.keystores.hsm.domain_keys import SEEDS, TokenKeys
from strongroom.keystores.hsm.keys import HsmDirectKey, HsmMacKey, HsmPrivateKey, HsmSymmetricKey
from strongroom.keystores.hsm.mechanisms import OAEP_MECHANISMS, OaepOpener
from strongroom.keystores.hsm.module import (
    DataRefusedError,
    Mechanism,
    NotPossibleError,
    Pkcs11Error,
    Session,
    Template,
    UnclearError,
    Value,
)
from strongroom.keystores.hsm.opened import OpenedMaterials
from strongroom.keystores.hsm.recovery import RecoveryRoot, for_holder, rsa_public_key, unwrap_in_token, wrap_for_holder
from strongroom.keystores.hsm.templates import CLASSES, RSA_IMPORT, MaterialClass, class_of, private_key, public_key
from strongroom.keystores.hsm.threads import CallThreads
from strongroom.keystores.hsm.token import Lease, Token, unavailable
from strongroom.keystores.hsm.wrapping import BY_CBC, BY_RFC_5649, ENCRYPTED, Wrapping
from strongroom.keystores.opened_keys import OpenedKeys
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import KEY_SPECS, MAC_BYTES, SIGN_VERIFY, SYMMETRIC_DEFAULT

RSA_AT_ONCE = 3
"""RSA key pairs that are made at once in one process: fewer than there are threads for what takes long."""

_Result = TypeVar("_Result")
_OBJECT_IDENTIFIERS = {
    "ECC_NIST_P256": "06082a8648ce3d030107",
    "ECC_NIST_P384": "06052b81040022",
    "ECC_NIST_P521": "06052b81040023",
    "ECC_SECG_P256K1": "06052b8104000a",
}
"""Key spec -> DER object identifier of its curve."""
_RSA_COMPONENTS = (
    p11.CKA_PRIME_1, p11.CKA_PRIME_2, p11.CKA_PRIVATE_EXPONENT, p11.CKA_EXPONENT_1, p11.CKA_EXPONENT_2,
    p11.CKA_COEFFICIENT,
)  # fmt: skip


class HsmKeyStore:
    """Implements `KeyStore` over an open token."""

    name = "hsm"

    def __init__(
        self,
        token: Token[TokenKeys],
        can: Capabilities,
        *,
        allowed: Collection[str],
        count_use: Callable[[KeyMaterial], None],
        recovery_public_key: bytes | None = None,
        calls: CallThreads | None = None,
        generation: CallThreads | None = None,
    ) -> None:
        """`allowed` are the weaker ways that may be gone. `count_use` counts encryptions that must not be too many.

        New material is wrapped for the holder of the recovery key too, if there is one (DER SubjectPublicKeyInfo).
        `calls` and `generation` are the threads that serve requests; None if there are none to serve.
        """
        self._token = token
        self._can = can
        self._allowed = allowed
        self._count_use = count_use
        self._holder = None if recovery_public_key is None else rsa_public_key(recovery_public_key)
        self.calls = calls
        self.generation = generation
        self._rsa = threading.BoundedSemaphore(RSA_AT_ONCE)
        self._openers: dict[str, OaepOpener] = {}
        self._deriving = OpenedMaterials(token, self._open_deriving)
        self._plain = OpenedMaterials(token, self._open_plain)
        self._software_signing = OpenedKeys(partial(self._decrypted, load_signing_key))
        self._software_decapsulation = OpenedKeys(partial(self._decrypted, load_decapsulation_key))

    def generate(self, key: KmsKey, *, material_id: str, created: float) -> KeyMaterial:
        """Make new material for a key, wrapped for storage. Raises UnsupportedOperation, Throttling, KMSInternal."""
        self._check_way(key.key_spec, key.key_usage)
        kind = class_of(key.key_spec, key.key_usage, xaes=self._can.xaes)
        make = self._make_seed if kind is None else partial(self._make, kind)
        if key.key_spec in MODULUS_BITS:
            return self._one_of_few(lambda: self._run(lambda lease: make(lease, key, material_id, created)))
        return self._run(lambda lease: make(lease, key, material_id, created))

    def new_import_key(self, key: KmsKey, key_spec: str) -> ImportKey:
        """Make an RSA key pair in the token that opens wrapped material there, and does nothing else."""
        return self._one_of_few(lambda: self._run(partial(self._make_import_key, key, key_spec)))

    def import_material(
        self, key: KmsKey, import_key: ImportKey, algorithm: str, encrypted: bytes, *, material_id: str, created: float
    ) -> KeyMaterial:
        """Take over material: it is decrypted in the token, and wrapped there for storage.

        Raises UnsupportedOperation for an algorithm that the token does not have.
        """
        self._check_way(key.key_spec, key.key_usage)
        if algorithm not in self._can.done:
            raise UnsupportedOperation(f"Material wrapped with {algorithm} is not supported by this key store.")
        return self._run(partial(self._import, key, import_key, algorithm, encrypted, material_id, created))

    def generate_key_pair(self, key_spec: str) -> KeyPair:
        """Make a data key pair in the token, and take it out.

        Raises UnsupportedOperation if the token does not make such pairs, or keeps them.
        """
        if key_spec in MODULUS_BITS:
            return self._one_of_few(lambda: self._run(lambda lease: _rsa_pair(lease.session, key_spec)))
        if key_spec in CURVES:
            if self._can.way(key_spec, SIGN_VERIFY) is None:
                raise _no_pairs()
            return self._run(lambda lease: _ec_pair(lease.session, key_spec))
        return key_pair_from_seed(key_spec, self.random_bytes)

    def open_symmetric(self, key: KmsKey, material: KeyMaterial) -> SymmetricKey:
        """Open the material of a symmetric encryption key."""
        if material.algorithm == ALGORITHM_XAES_256_GCM:
            return HsmSymmetricKey(self._deriving, self._deriving.get(key, material))
        if material.algorithm != ALGORITHM_AES_256_GCM:
            raise KeyUnavailable
        return HsmDirectKey(self._plain, self._plain.get(key, material), self._count_use)

    def open_mac(self, key: KmsKey, material: KeyMaterial) -> MacKey:
        """Open the material of an HMAC key."""
        return HsmMacKey(self._plain, self._plain.get(key, material))

    def open_signing(self, key: KmsKey, material: KeyMaterial) -> SigningKey:
        """Open the private key of a signing key."""
        if class_of(key.key_spec, key.key_usage, xaes=self._can.xaes) is None:
            return self._software_signing.get(key, material)
        return HsmPrivateKey(self._plain, self._plain.get(key, material))

    def open_decryption(self, key: KmsKey, material: KeyMaterial) -> DecryptionKey:
        """Open the private key of an asymmetric encryption key."""
        opened = self._plain.get(key, material)
        return HsmPrivateKey(self._plain, opened, self._opener(key))

    def open_agreement(self, key: KmsKey, material: KeyMaterial) -> AgreementKey:
        """Open the private key of a key agreement key."""
        return HsmPrivateKey(self._plain, self._plain.get(key, material))

    def open_decapsulation(self, key: KmsKey, material: KeyMaterial) -> DecapsulationKey:
        """Open the private key of a key encapsulation key."""
        return self._software_decapsulation.get(key, material)

    @classmethod
    def for_moving(cls, token: Token[TokenKeys], can: Capabilities, allowed: Collection[str]) -> "HsmKeyStore":
        """A store that takes over material from another token (`moved`) and does nothing else."""
        return cls(token, can, allowed=allowed, count_use=_refuse)

    def moved(self, key: KmsKey, material: KeyMaterial, lost: RecoveryRoot) -> KeyMaterial:
        """Material of another token as this one wraps it, opened with the recovery key.

        Raises HsmError if it is not wrapped for its holder, UnsupportedOperation if this token cannot protect such a
        key, or only in a weaker way that is not allowed; KMSInternal.
        """
        self._check_way(key.key_spec, key.key_usage)
        if material.algorithm == ALGORITHM_XAES_256_GCM and not self._can.xaes:
            raise UnsupportedOperation("its ciphertexts are XAES-256-GCM, which this token does not do")
        if material.recovery is None:
            raise HsmError(f"the material of {key.arn} is not wrapped for the holder of the recovery key")
        return self._run(partial(self._move, key, material, material.recovery, lost))

    def forget(self, material_id: str) -> None:
        """Drop opened material. Idempotent."""
        for opened in (self._deriving, self._plain, self._software_signing, self._software_decapsulation):
            opened.forget(material_id)
        if self.calls is not None:
            self.calls.soon(self._sweep)

    def _sweep(self) -> None:
        """Destroy in the token what was forgotten."""
        try:
            self._deriving.sweep()
            self._plain.sweep()
        except (Pkcs11Error, RequestError):
            return  # it is gone with the epoch, or swept with the next use

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes of the token's generator."""
        return self._run(lambda lease: lease.session.random(length)) if length else b""

    def _run(self, work: Callable[[Lease[TokenKeys]], _Result]) -> _Result:
        """Do work that needs no opened material. Raises KMSInternal if the token fails."""
        try:
            return self._token.run(work)
        except Pkcs11Error as error:
            self._token.suspect(error)
            raise unavailable() from None

    def _one_of_few(self, work: Callable[[], _Result]) -> _Result:
        if not self._rsa.acquire(blocking=False):
            raise Throttling(
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
            )
        try:
            return work()
        finally:
            self._rsa.release()

    def _check_way(self, key_spec: str, key_usage: str) -> None:
        """Refuse what the token cannot protect, unless the operator allows a weaker way of protecting it."""
        way = self._can.way(key_spec, key_usage)
        if way is None or (way and way not in self._allowed):
            raise UnsupportedOperation(f"{key_spec} keys for {key_usage} are not supported by this key store.")

    def _make(
        self, kind: MaterialClass, lease: Lease[TokenKeys], key: KmsKey, material_id: str, created: float
    ) -> KeyMaterial:
        handle, public = _make_key(lease.session, kind, key, self._can)
        try:
            return self._wrapped(lease, kind, key, handle, material_id, created, public)
        finally:
            self._plain.destroy(lease.session, handle)

    def _wrapped(
        self,
        lease: Lease[TokenKeys],
        kind: MaterialClass,
        key: KmsKey,
        handle: int,
        material_id: str,
        created: float,
        public: bytes | None,
    ) -> KeyMaterial:
        """The material of an object that can be wrapped. Raises InvalidCiphertext if a secret has not its length."""
        session, keys = lease
        version, _ = keys.newest(kind.name)
        algorithm = NO_ALGORITHM
        if key.key_spec == SYMMETRIC_DEFAULT:
            algorithm = ALGORITHM_XAES_256_GCM if self._can.xaes else ALGORITHM_AES_256_GCM
        material = _unwrapped(key, material_id, algorithm, version, created, public)
        assert self._can.wrap is not None, "needs() refuses a token without"
        wrapping = Wrapping(session, keys, kind.name, version)
        wrapped = wrapping.wrap(self._can.wrap, handle, binding(key, material))
        if not kind.pair and not wrapping.could_hold(wrapped, _secret_bytes(key)):
            raise InvalidCiphertext
        recovery = None if self._holder is None else wrap_for_holder(session, self._can, self._holder, handle)
        return replace(material, wrapped=wrapped, recovery=recovery)

    def _make_import_key(self, key: KmsKey, key_spec: str, lease: Lease[TokenKeys]) -> ImportKey:
        session, keys = lease
        kind = CLASSES[RSA_IMPORT]
        mechanism, public = _pair_of(key_spec)
        public_handle, handle = session.generate_pair(mechanism, public, Template(self._can.made_attributes(kind)))
        try:
            version, _ = keys.newest(kind.name)
            der = _public_der(session, key_spec, public_handle)
            made = ImportKey(key_spec, self.name, version, b"", der)
            assert self._can.wrap is not None, "needs() refuses a token without"
            wrapped = Wrapping(session, keys, kind.name, version).wrap(
                self._can.wrap, handle, import_binding(key, made)
            )
            return replace(made, wrapped=wrapped)
        finally:
            session.destroy(public_handle)
            self._plain.destroy(session, handle)

    def _import(
        self,
        key: KmsKey,
        import_key: ImportKey,
        algorithm: str,
        encrypted: bytes,
        material_id: str,
        created: float,
        lease: Lease[TokenKeys],
    ) -> KeyMaterial:
        session, keys = lease
        kind = class_of(key.key_spec, key.key_usage, xaes=self._can.xaes)
        if kind is None or kind.pair:
            raise UnsupportedOperation(f"Import of {key.key_spec} keys is not supported by this key store.")
        wrapping = Wrapping(session, keys, RSA_IMPORT, import_key.domain_key_version)
        how = wrapping.check(import_key.wrapped, import_binding(key, import_key))
        if import_key.key_store != self.name or how not in (BY_RFC_5649, BY_CBC):
            raise KeyUnavailable
        assert self._can.wrap is not None, "needs() refuses a token without"
        template = Template(self._can.opened_attributes(CLASSES[RSA_IMPORT]))
        opener = wrapping.unwrap(self._can.wrap, import_key.wrapped, template, session)
        made = [opener]
        try:
            material_template = Template(self._can.taken_attributes(kind))
            try:
                handle = session.unwrap(OAEP_MECHANISMS[algorithm], opener, encrypted, material_template)
                made.append(handle)
                (told,) = session.attributes(handle, [p11.CKA_VALUE_LEN])
                if told is not None and int.from_bytes(told, sys.byteorder) not in (0, _secret_bytes(key)):
                    raise InvalidCiphertext
                return self._wrapped(lease, kind, key, handle, material_id, created, None)
            except (DataRefusedError, UnclearError, NotPossibleError):  # no key of a length that can be wrapped, too
                raise InvalidCiphertext from None
        finally:
            for handle in made:
                self._plain.destroy(session, handle)

    def _make_seed(self, lease: Lease[TokenKeys], key: KmsKey, material_id: str, created: float) -> KeyMaterial:
        session, keys = lease
        pair = key_pair_from_seed(key.key_spec, session.random)
        version, _ = keys.newest(SEEDS)
        material = _unwrapped(key, material_id, NO_ALGORITHM, version, created, pair.public)
        wrapped = Wrapping(session, keys, SEEDS, version).encrypt(pair.private, binding(key, material))
        recovery = None if self._holder is None else for_holder(self._holder, pair.private)
        return replace(material, wrapped=wrapped, recovery=recovery)

    def _move(
        self, key: KmsKey, material: KeyMaterial, recovery: bytes, lost: RecoveryRoot, lease: Lease[TokenKeys]
    ) -> KeyMaterial:
        session, keys = lease
        kind = class_of(key.key_spec, key.key_usage, xaes=material.algorithm == ALGORITHM_XAES_256_GCM)
        if kind is None:
            version, _ = keys.newest(SEEDS)
            material = replace(material, domain_key_version=version)
            wrapping = Wrapping(session, keys, SEEDS, version)
            return replace(material, wrapped=wrapping.encrypt(lost.unwrap(recovery, ()), binding(key, material)))
        version, _ = keys.newest(kind.name)
        material = replace(material, domain_key_version=version)
        assert self._can.wrap is not None, "needs() refuses a token without"
        template = Template(self._can.taken_attributes(kind))
        handle = unwrap_in_token(session, self._can, lost.private, recovery, template)
        try:
            wrapping = Wrapping(session, keys, kind.name, version)
            return replace(material, wrapped=wrapping.wrap(self._can.wrap, handle, binding(key, material)))
        finally:
            self._plain.destroy(session, handle)

    def _open_deriving(self, lease: Lease[TokenKeys], key: KmsKey, material: KeyMaterial) -> tuple[int, int]:
        handle = self._open_in_token(lease, key, material)
        return handle, subkey(lease.session, handle)

    def _open_plain(self, lease: Lease[TokenKeys], key: KmsKey, material: KeyMaterial) -> tuple[int, None]:
        return self._open_in_token(lease, key, material), None

    def _open_in_token(self, lease: Lease[TokenKeys], key: KmsKey, material: KeyMaterial) -> int:
        """Check wrapped material and open it as an object of the owner session, whose lock is held."""
        kind = class_of(key.key_spec, key.key_usage, xaes=material.algorithm == ALGORITHM_XAES_256_GCM)
        if kind is None:
            raise KeyUnavailable
        wrapping = Wrapping(lease.session, lease.prepared, kind.name, material.domain_key_version)
        if self._checked(wrapping, key, material) not in (BY_RFC_5649, BY_CBC):
            raise KeyUnavailable
        self._check_way(key.key_spec, key.key_usage)
        assert self._can.wrap is not None, "needs() refuses a token without"
        assert self._token.owner is not None, "the token is open"
        template = Template(self._can.opened_attributes(kind))
        return wrapping.unwrap(self._can.wrap, material.wrapped, template, self._token.owner)

    def _decrypted(self, load: Callable[[str, bytes], _Result], key: KmsKey, material: KeyMaterial) -> _Result:
        """Open a key that is used in software: its seed is decrypted in the token."""

        def decrypt(lease: Lease[TokenKeys]) -> bytes:
            wrapping = Wrapping(lease.session, lease.prepared, SEEDS, material.domain_key_version)
            if self._checked(wrapping, key, material) != ENCRYPTED:
                raise KeyUnavailable
            self._check_way(key.key_spec, key.key_usage)
            return wrapping.decrypt(material.wrapped)

        return load(key.key_spec, self._run(decrypt))

    def _checked(self, wrapping: Wrapping, key: KmsKey, material: KeyMaterial) -> int:
        """Return how material is wrapped. Raises KeyUnavailable if it is not this key's, or was altered."""
        if material.key_store != self.name:
            raise KeyUnavailable
        return wrapping.check(material.wrapped, binding(key, material))

    def _opener(self, key: KmsKey) -> OaepOpener | None:
        if self._can.way(key.key_spec, key.key_usage) != HOST_OAEP_SHA_256:
            return None
        if key.key_spec not in self._openers:
            self._openers[key.key_spec] = OaepOpener(MODULUS_BITS[key.key_spec])
        return self._openers[key.key_spec]


def _refuse(material: KeyMaterial) -> None:
    raise AssertionError(f"{material} is moved, and not used")


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


def _secret_bytes(key: KmsKey) -> int:
    """How long the material of a symmetric or HMAC key is."""
    if key.key_spec == SYMMETRIC_DEFAULT:
        return KEY_LENGTH
    (algorithm,) = KEY_SPECS[key.key_spec].algorithms[key.key_usage]
    return MAC_BYTES[algorithm]


def _unwrapped(
    key: KmsKey, material_id: str, algorithm: int, version: int, created: float, public: bytes | None
) -> KeyMaterial:
    return KeyMaterial(
        account=key.account,
        region=key.region,
        key_id=key.key_id,
        material_id=material_id,
        algorithm=algorithm,
        key_store=HsmKeyStore.name,
        domain_key_version=version,
        wrapped=b"",
        created=created,
        public_key=public,
    )


def _make_key(session: Session, kind: MaterialClass, key: KmsKey, can: Capabilities) -> tuple[int, bytes | None]:
    """Make material as a session object that can be wrapped; return it, and of a key pair the public half in DER."""
    made = can.made_attributes(kind)
    if not kind.pair:
        mechanism = _AES if kind.key_type == p11.CKK_AES else _SECRET
        return session.generate_key(mechanism, Template({**made, p11.CKA_VALUE_LEN: _secret_bytes(key)})), None
    mechanism, public = _pair_of(key.key_spec)
    public_handle, handle = session.generate_pair(mechanism, public, Template(made))
    try:
        return handle, _public_der(session, key.key_spec, public_handle)
    finally:
        session.destroy(public_handle)


def _pair_of(key_spec: str) -> tuple[Mechanism, Template]:
    """The mechanism that makes pairs of a spec, and the template of their public halves."""
    if key_spec in MODULUS_BITS:
        exponent = PUBLIC_EXPONENT.to_bytes(3)
        return _RSA, Template(
            public_key(p11.CKK_RSA, CKA_MODULUS_BITS=MODULUS_BITS[key_spec], CKA_PUBLIC_EXPONENT=exponent)
        )
    return _EC, Template(public_key(p11.CKK_EC, CKA_EC_PARAMS=bytes.fromhex(_OBJECT_IDENTIFIERS[key_spec])))


def _public_der(session: Session, key_spec: str, handle: int) -> bytes:
    """The public half as AWS gives it out: a DER SubjectPublicKeyInfo."""
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    if key_spec in MODULUS_BITS:
        (modulus,) = _told(session, handle, (p11.CKA_MODULUS,))
        key = rsa.RSAPublicNumbers(PUBLIC_EXPONENT, int.from_bytes(modulus)).public_key()
    else:
        (point,) = _told(session, handle, (p11.CKA_EC_POINT,))
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[key_spec], _point(CURVES[key_spec], point))
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _point(curve: ec.EllipticCurve, told: bytes) -> bytes:
    """The uncompressed point, which the standard puts into a DER OCTET STRING and some tokens do not."""
    return told[-(1 + 2 * ((curve.key_size + 7) // 8)) :]


def _told(session: Session, handle: int, kinds: Collection[int]) -> list[bytes]:
    values = [value for value in session.attributes(handle, list(kinds)) if value is not None]
    if len(values) != len(kinds):
        raise NotPossibleError("C_GetAttributeValue", 0x11)
    return values


def _rsa_pair(session: Session, key_spec: str) -> KeyPair:
    """A data key pair: made to be given away."""
    mechanism, public = _pair_of(key_spec)
    handles = session.generate_pair(mechanism, public, Template(_given_away(p11.CKK_RSA)))
    try:
        (modulus,) = _told(session, handles[0], (p11.CKA_MODULUS,))
        told = _told_or_unsupported(session, handles[1], _RSA_COMPONENTS)
        p, q, d, dmp1, dmq1, iqmp = (int.from_bytes(component) for component in told)
    finally:
        for handle in handles:
            session.destroy(handle)
    numbers = rsa.RSAPublicNumbers(PUBLIC_EXPONENT, int.from_bytes(modulus))
    return encoded(rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, numbers).private_key())


def _ec_pair(session: Session, key_spec: str) -> KeyPair:
    """A data key pair: made to be given away."""
    mechanism, public = _pair_of(key_spec)
    handles = session.generate_pair(mechanism, public, Template(_given_away(p11.CKK_EC)))
    try:
        (value,) = _told_or_unsupported(session, handles[1], (p11.CKA_VALUE,))
    finally:
        for handle in handles:
            session.destroy(handle)
    return encoded(ec.derive_private_key(int.from_bytes(value), CURVES[key_spec]))


def _given_away(key_type: int) -> dict[int, Value]:
    return {**private_key(key_type, p11.CKA_SIGN, extractable=True), p11.CKA_SENSITIVE: False}


def _told_or_unsupported(session: Session, handle: int, kinds: Collection[int]) -> list[bytes]:
    try:
        return _told(session, handle, kinds)
    except NotPossibleError:
        raise _no_pairs() from None


def _no_pairs() -> UnsupportedOperation:
    return UnsupportedOperation("Data key pairs of this spec are not supported by this key store.")


_AES = Mechanism(p11.CKM_AES_KEY_GEN)
_SECRET = Mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN)
_RSA = Mechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN)
_EC = Mechanism(p11.CKM_EC_KEY_PAIR_GEN)
