"""The HSM key store: key material is made in the token, wrapped there for storage, and opened there for use."""

from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM
from strongroom.crypto.ecc import CURVES
from strongroom.crypto.key_pairs import KeyPair, key_pair_from_seed, load_decapsulation_key, load_signing_key
from strongroom.crypto.rsa import MODULUS_BITS
from strongroom.errors import HsmError, KeyUnavailable, RequestError, UnsupportedOperation
from strongroom.keystores.contract import (
    AgreementKey,
    DecapsulationKey,
    DecryptionKey,
    MacKey,
    RawSymmetricKey,
    SigningKey,
)
from strongroom.keystores.generation import FewAtOnce
from strongroom.keystores.hsm.capabilities import HOST_IMPORT, HOST_OAEP_SHA_256, OAEP_SHA_256, Capabilities
from strongroom.keystores.hsm.domain_keys import TokenKeys
from strongroom.keystores.hsm.failures import Pkcs11Error
from strongroom.keystores.hsm.importing import Imports
from strongroom.keystores.hsm.keys import HsmDirectKey, HsmMacKey, HsmPrivateKey, HsmSymmetricKey
from strongroom.keystores.hsm.making import make_data_key_pair
from strongroom.keystores.hsm.materials import KEY_STORE, Materials
from strongroom.keystores.hsm.mechanisms import OaepOpeners, subkey
from strongroom.keystores.hsm.objects import TokenObjects
from strongroom.keystores.hsm.opened import OpenedMaterials
from strongroom.keystores.hsm.recovery import RecoveryRoot, rsa_public_key
from strongroom.keystores.hsm.templates import class_of
from strongroom.keystores.hsm.threads import CallThreads
from strongroom.keystores.hsm.token import Lease, Token, unavailable
from strongroom.keystores.material_ids import MaterialIds
from strongroom.keystores.opened_keys import OpenedKeys
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import SIGN_VERIFY

RSA_AT_ONCE = 3
"""RSA key pairs that are made at once in one process: fewer than there are threads for what takes long."""

_Result = TypeVar("_Result")


class HsmKeyStore:
    """Implements `KeyStore` over an open token."""

    name = KEY_STORE

    def __init__(  # noqa: PLR0913 — what it is made of, and each once
        self,
        token: Token[TokenKeys],
        can: Capabilities,
        *,
        allowed: Collection[str],
        count_use: Callable[[KeyMaterial], None],
        material_ids: MaterialIds,
        recovery_public_key: bytes | None = None,
        calls: CallThreads | None = None,
        generation: CallThreads | None = None,
    ) -> None:
        """`allowed` are the weaker ways that may be gone. `count_use` counts encryptions that must not be too many.

        `material_ids` names what is imported. New material is wrapped for the holder of the recovery key too, if there
        is one (DER SubjectPublicKeyInfo). `calls` and `generation` are the threads that serve requests; None if there
        are none to serve.
        """
        self._token = token
        self._can = can
        self._count_use = count_use
        holder = None if recovery_public_key is None else rsa_public_key(recovery_public_key)
        self._materials = Materials(can, allowed, holder)
        self.calls = calls
        self.generation = generation
        self._few = FewAtOnce(RSA_AT_ONCE)
        self._openers = OaepOpeners()
        self._imports = Imports(self._materials, material_ids, self._openers)
        if can.opens_padding(OAEP_SHA_256) and calls is not None and {HOST_OAEP_SHA_256, HOST_IMPORT} & set(allowed):
            self._openers.prepare()  # requests do not wait for it
        self._deriving = OpenedMaterials(token, self._open_deriving)
        self._plain = OpenedMaterials(token, self._open_plain)
        self.objects = TokenObjects(token, count_use)
        """What was in the token before, and is used as it is: by external keys alone."""
        self._software_signing = OpenedKeys(partial(self._open_seed, load_signing_key))
        self._software_decapsulation = OpenedKeys(partial(self._open_seed, load_decapsulation_key))

    def check_kind(self, key_spec: str, key_usage: str) -> None:
        """Refuse what the token cannot protect, or only in a weaker way that is not allowed."""
        self._materials.check_way(key_spec, key_usage)

    def generate(self, key: KmsKey, *, material_id: str, created: float) -> KeyMaterial:
        """Make new material for a key, wrapped for storage. Raises UnsupportedOperation, Throttling, KMSInternal."""
        self._materials.check_way(key.key_spec, key.key_usage)
        make = partial(self._run, partial(self._materials.make, key, material_id, created))
        return self._one_of_few(make) if key.key_spec in MODULUS_BITS else make()

    def new_import_key(self, key: KmsKey, key_spec: str, algorithm: str) -> ImportKey:
        """Make an RSA key pair in the token. Raises UnsupportedOperation, Throttling, KMSInternal."""
        self._materials.check_way(key.key_spec, key.key_usage)
        return self._one_of_few(partial(self._run, partial(self._imports.make_key, key, key_spec, algorithm)))

    def import_material(self, key: KmsKey, import_key: ImportKey, encrypted: bytes, *, created: float) -> KeyMaterial:
        """Take over material: it is unwrapped in the token as far as that can, and wrapped there for storage.

        Raises UnsupportedOperation and KMSInternal besides what `KeyStore` says.
        """
        self._materials.check_way(key.key_spec, key.key_usage)
        return self._run(partial(self._imports.take, key, import_key, encrypted, created))

    def generate_key_pair(self, key_spec: str) -> KeyPair:
        """Make a data key pair in the token, and take it out.

        Raises UnsupportedOperation if the token does not make such pairs, or keeps them.
        """
        if key_spec not in MODULUS_BITS and key_spec not in CURVES:
            return key_pair_from_seed(key_spec, self.random_bytes)
        if self._can.way(key_spec, SIGN_VERIFY) is None:
            raise UnsupportedOperation("Data key pairs of this spec are not supported by this key store.")
        make = partial(self._run, lambda lease: make_data_key_pair(lease.session, key_spec))
        return self._one_of_few(make) if key_spec in MODULUS_BITS else make()

    def open_symmetric(self, key: KmsKey, material: KeyMaterial) -> RawSymmetricKey:
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
        opener = self._openers.of(key.key_spec) if self._can.opens_padding(OAEP_SHA_256) else None
        return HsmPrivateKey(self._plain, opened, opener)

    def open_agreement(self, key: KmsKey, material: KeyMaterial) -> AgreementKey:
        """Open the private key of a key agreement key."""
        return HsmPrivateKey(self._plain, self._plain.get(key, material))

    def open_decapsulation(self, key: KmsKey, material: KeyMaterial) -> DecapsulationKey:
        """Open the private key of a key encapsulation key."""
        return self._software_decapsulation.get(key, material)

    @classmethod
    def for_moving(cls, token: Token[TokenKeys], can: Capabilities, allowed: Collection[str]) -> "HsmKeyStore":
        """A store that takes over material from another token (`moved`) and does nothing else."""
        nothing_is_imported = MaterialIds(b"")
        return cls(token, can, allowed=allowed, count_use=_refuse, material_ids=nothing_is_imported)

    def moved(self, key: KmsKey, material: KeyMaterial, lost: RecoveryRoot) -> KeyMaterial:
        """Material of another token as this one wraps it, opened with the recovery key.

        Raises HsmError if it is not wrapped for its holder, UnsupportedOperation if this token cannot protect such a
        key, or only in a weaker way that is not allowed; KMSInternal.
        """
        self._materials.check_way(key.key_spec, key.key_usage)
        if material.algorithm == ALGORITHM_XAES_256_GCM and not self._can.xaes:
            raise UnsupportedOperation("its ciphertexts are XAES-256-GCM, which this token does not do")
        if material.recovery is None:
            raise HsmError(f"the material of {key.arn} is not wrapped for the holder of the recovery key")
        return self._run(partial(self._materials.move, key, material, material.recovery, lost))

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region. Idempotent."""
        for opened in (self._deriving, self._plain, self._software_signing, self._software_decapsulation):
            opened.forget(region, material_id)
        self.objects.forget(region, material_id)
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
        with self._few.place():
            return work()

    def _open_deriving(self, lease: Lease[TokenKeys], key: KmsKey, material: KeyMaterial) -> tuple[int, int]:
        handle, _ = self._open_plain(lease, key, material)
        try:
            return handle, subkey(lease.session, handle)
        except BaseException:
            self._token.owner.discard(handle)
            raise

    def _open_plain(self, lease: Lease[TokenKeys], key: KmsKey, material: KeyMaterial) -> tuple[int, None]:
        return self._materials.open(key, material, self._token.owner, lease), None

    def _open_seed(self, load: Callable[[str, bytes], _Result], key: KmsKey, material: KeyMaterial) -> _Result:
        """Open a key that is used in software: its seed is decrypted in the token."""
        return load(key.key_spec, self._run(partial(self._materials.open_seed, key, material)))


def _refuse(material: KeyMaterial) -> None:
    raise AssertionError(f"{material} is moved, and not used")
