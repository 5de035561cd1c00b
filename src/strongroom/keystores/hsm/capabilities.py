"""What a token can do, and what that means for keys: they are in the token, protected otherwise, or not at all.

Nothing falls back by itself: each weaker way has a name, which the operator allows in the configuration (`hsm.allow`).
"""

from collections.abc import Collection
from typing import NamedTuple

from strongroom.crypto.ecc import CURVES
from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Value
from strongroom.keystores.hsm.templates import MaterialClass, secret_key
from strongroom.model.key_specs import KEY_AGREEMENT, KEY_SPECS, SIGN_VERIFY, SYMMETRIC_DEFAULT

DIRECT_GCM = "direct-gcm"
CBC_WRAP = "cbc-wrap"
NO_UNWRAP_TEMPLATE = "no-unwrap-template"
NO_USAGE_LIMITS = "no-usage-limits"
HOST_OAEP_SHA_256 = "host-oaep-sha-256"
HOST_IMPORT = "host-import"
SOFTWARE_ED25519 = "software-ed25519"
SOFTWARE_ML_DSA = "software-ml-dsa"
SOFTWARE_ML_KEM = "software-ml-kem"

OAEP_SHA_256 = "RSAES_OAEP_SHA_256"
"""The algorithm whose padding the server can take off."""

WEAKER_WAYS = {
    DIRECT_GCM: "symmetric keys encrypt with AES-256-GCM itself: each encrypts 2^32 times and no more, counted",
    CBC_WRAP: "key material is wrapped with AES-256-CBC; only our authentication code protects it, not the wrapping",
    NO_UNWRAP_TEMPLATE: "whoever has the PIN and the database can open key material in the HSM so that it can be read",
    NO_USAGE_LIMITS: "whoever has the PIN can use opened key material otherwise than it is meant to be",
    HOST_OAEP_SHA_256: "the padding of RSAES_OAEP_SHA_256 is taken off in the server; the private key stays in the HSM",
    HOST_IMPORT: (
        "key material that is imported, or the AES key that it is wrapped under, is for a moment in the memory of the "
        "server, where the HSM cannot take it over by itself; it is used in the HSM alone"
    ),
    SOFTWARE_ED25519: "Ed25519 keys are used in the memory of the server; the HSM makes and encrypts their seeds",
    SOFTWARE_ML_DSA: "ML-DSA keys are used in the memory of the server; the HSM makes and encrypts their seeds",
    SOFTWARE_ML_KEM: "ML-KEM keys are used in the memory of the server; the HSM makes and encrypts their seeds",
}
"""Name -> what is lost with it."""

_IN_SOFTWARE = {"ECC_NIST_EDWARDS": SOFTWARE_ED25519, "ML_DSA": SOFTWARE_ML_DSA, "ML_KEM": SOFTWARE_ML_KEM}
"""How key specs begin that are never used in a token, and the way that is left."""


class Capabilities(NamedTuple):
    """What was proven. `wrap` is the mechanism that wraps key material; None if none can.

    `extractable` is whether a key can be opened with the words that it may be wrapped again. A token that refuses them
    opens every key so.

    `done` names what else the token does right: algorithms of KMS, curves by their key specs and usages, and what it
    `unwraps`.
    """

    description: str
    wrap: int | None
    unwrap_template: bool
    allowed_mechanisms: bool
    unmodifiable: bool
    uncopyable: bool
    extractable: bool
    sealing: bool
    integrity: bool
    xaes: bool
    gcm: bool
    done: frozenset[str]

    def opened_attributes(self, kind: MaterialClass) -> dict[int, Value]:
        """What opened material of a class is allowed, as strictly as this token can be told."""
        attributes = kind.attributes(mechanisms=self.allowed_mechanisms)
        return attributes | self.frozen()

    def frozen(self) -> dict[int, Value]:
        """What keeps an object as it was made, as far as this token takes it."""
        return _frozen(unmodifiable=self.unmodifiable, uncopyable=self.uncopyable)

    def made_attributes(self, kind: MaterialClass) -> dict[int, Value]:
        """What material of a class is allowed between its making and its wrapping."""
        return kind.attributes(extractable=True, mechanisms=self.allowed_mechanisms)

    def taken_attributes(self, kind: MaterialClass) -> dict[int, Value]:
        """The same of material that was wrapped elsewhere, between its opening and its wrapping here."""
        attributes = self.made_attributes(kind)
        if not self.extractable:
            del attributes[p11.CKA_EXTRACTABLE]
        return attributes

    def measured_attributes(self) -> dict[int, Value]:
        """What an AES key is allowed that can be wrapped, which tells its length, and does nothing."""
        attributes = secret_key(p11.CKK_AES, extractable=True)
        if not self.extractable:
            del attributes[p11.CKA_EXTRACTABLE]
        return attributes

    def needs(self) -> list[str]:
        """The weaker ways without which this token protects no key at all. Raises HsmError if none would help."""
        if self.wrap is None or not self.sealing or not self.integrity:
            missing = [
                what
                for what, there in (
                    ("wrapping keys (RFC 5649 or AES-CBC)", self.wrap is not None),
                    ("encrypting with AES-CBC", self.sealing),
                    ("HMAC-SHA-256", self.integrity),
                )
                if not there
            ]
            raise HsmError(f"the token cannot be used: it lacks {', '.join(missing)}")
        return [
            *([CBC_WRAP] if self.wrap == p11.CKM_AES_CBC_PAD else []),
            *([] if self.unwrap_template else [NO_UNWRAP_TEMPLATE]),
            *([] if self.allowed_mechanisms and self.unmodifiable else [NO_USAGE_LIMITS]),
        ]

    def way(self, key_spec: str, key_usage: str) -> str | None:
        """How keys of a kind are protected: "" in the token, the name of a weaker way, or None: not at all."""
        if key_spec == SYMMETRIC_DEFAULT:
            return "" if self.xaes else DIRECT_GCM if self.gcm else None
        software = _software_way(key_spec)
        if software is not None:
            return software
        if key_spec in CURVES:
            return "" if f"{key_spec} {key_usage}" in self.done else None
        missing = set(KEY_SPECS[key_spec].algorithms[key_usage]) - self.done
        if missing == {OAEP_SHA_256} and self.opens_padding(OAEP_SHA_256):
            return HOST_OAEP_SHA_256
        return None if missing else ""

    def import_way(self, key_spec: str, oaep: str, *, two_steps: bool) -> str | None:
        """How key material of a spec is taken over that is wrapped by an algorithm: as `way`.

        `oaep` is the algorithm of the RSA key; with `two_steps` it encrypts an AES key, and that the material.
        """
        decrypts = self.decrypts(oaep) or self.opens_padding(oaep)
        software = _software_way(key_spec)
        if software is not None:
            return software if decrypts else None
        if two_steps and not self.by_rfc_5649:
            return None
        if key_spec in CURVES and not {f"{key_spec} {usage}" for usage in (SIGN_VERIFY, KEY_AGREEMENT)} <= self.done:
            return None  # its public half cannot be found
        if unwraps(oaep) in self.done:
            return ""
        return HOST_IMPORT if decrypts else None

    @property
    def by_rfc_5649(self) -> bool:
        """Whether it wraps keys by RFC 5649."""
        return self.wrap not in (None, p11.CKM_AES_CBC_PAD)

    def decrypts(self, oaep: str) -> bool:
        """Whether it decrypts by an algorithm itself."""
        return oaep in self.done

    def opens_padding(self, oaep: str) -> bool:
        """Whether the server must, and can, take the padding of an algorithm off (`mechanisms.OaepOpener`)."""
        return oaep == OAEP_SHA_256 and not self.decrypts(oaep) and "RAW_RSA" in self.done


class LastingKeys(NamedTuple):
    """What was proven of AES keys that are made in the token and stay there."""

    xaes: bool
    gcm: bool
    allowed_mechanisms: bool
    unmodifiable: bool
    uncopyable: bool

    def attributes(self, kind: MaterialClass) -> dict[int, Value]:
        """What material of a class is allowed, as strictly as this token can be told."""
        frozen = _frozen(unmodifiable=self.unmodifiable, uncopyable=self.uncopyable)
        return kind.attributes(mechanisms=self.allowed_mechanisms) | {p11.CKA_TOKEN: True} | frozen


def _frozen(*, unmodifiable: bool, uncopyable: bool) -> dict[int, Value]:
    frozen: dict[int, Value] = {p11.CKA_COPYABLE: False} if uncopyable else {}
    return frozen | {p11.CKA_MODIFIABLE: False} if unmodifiable else frozen


def unwraps(oaep: str) -> str:
    """The name, among what is done, of opening a key that is encrypted by an algorithm: inside the token."""
    return oaep.replace("RSAES", "UNWRAPS")


def _software_way(key_spec: str) -> str | None:
    return next((way for family, way in _IN_SOFTWARE.items() if key_spec.startswith(family)), None)


def check_allowed(can: Capabilities, allowed: Collection[str]) -> None:
    """Raise HsmError unless all the weaker ways are allowed without which this token protects nothing."""
    for way in can.needs():
        if way not in allowed:
            raise HsmError(
                f"this token needs the weaker way {way!r}, which hsm.allow does not name: {WEAKER_WAYS[way]}"
            )
