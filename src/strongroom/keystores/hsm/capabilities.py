"""What a token can do, and what that means for keys: they are in the token, protected otherwise, or not at all.

Nothing falls back by itself: each weaker way has a name, which the operator allows in the configuration (`hsm.allow`).
"""

from collections.abc import Collection
from typing import NamedTuple

from strongroom.crypto.ecc import CURVES
from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Value
from strongroom.keystores.hsm.templates import MaterialClass
from strongroom.model.key_specs import KEY_SPECS, SYMMETRIC_DEFAULT

DIRECT_GCM = "direct-gcm"
CBC_WRAP = "cbc-wrap"
NO_UNWRAP_TEMPLATE = "no-unwrap-template"
NO_USAGE_LIMITS = "no-usage-limits"
HOST_OAEP_SHA_256 = "host-oaep-sha-256"
SOFTWARE_ED25519 = "software-ed25519"
SOFTWARE_ML_DSA = "software-ml-dsa"
SOFTWARE_ML_KEM = "software-ml-kem"

WEAKER_WAYS = {
    DIRECT_GCM: "symmetric keys encrypt with AES-256-GCM itself: each encrypts 2^32 times and no more, counted",
    CBC_WRAP: "key material is wrapped with AES-256-CBC; only our authentication code protects it, not the wrapping",
    NO_UNWRAP_TEMPLATE: "whoever has the PIN and the database can open key material in the HSM so that it can be read",
    NO_USAGE_LIMITS: "whoever has the PIN can use opened key material otherwise than it is meant to be",
    HOST_OAEP_SHA_256: "the padding of RSAES_OAEP_SHA_256 is taken off in the server; the private key stays in the HSM",
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

    `done` names what else the token does right: algorithms of KMS, curves by their key specs.
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
        uncopyable: dict[int, Value] = {p11.CKA_COPYABLE: False} if self.uncopyable else {}
        return uncopyable | {p11.CKA_MODIFIABLE: False} if self.unmodifiable else uncopyable

    def made_attributes(self, kind: MaterialClass) -> dict[int, Value]:
        """What material of a class is allowed between its making and its wrapping."""
        return kind.attributes(extractable=True, mechanisms=self.allowed_mechanisms)

    def taken_attributes(self, kind: MaterialClass) -> dict[int, Value]:
        """The same of material that was wrapped elsewhere, between its opening and its wrapping here."""
        attributes = self.made_attributes(kind)
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
        software = next((way for family, way in _IN_SOFTWARE.items() if key_spec.startswith(family)), None)
        if software is not None:
            return software
        if key_spec in CURVES:
            return "" if f"{key_spec} {key_usage}" in self.done else None
        missing = set(KEY_SPECS[key_spec].algorithms[key_usage]) - self.done
        if missing == {"RSAES_OAEP_SHA_256"} and "RAW_RSA" in self.done:
            return HOST_OAEP_SHA_256
        return None if missing else ""


def check_allowed(can: Capabilities, allowed: Collection[str]) -> None:
    """Raise HsmError unless all the weaker ways are allowed without which this token protects nothing."""
    for way in can.needs():
        if way not in allowed:
            raise HsmError(
                f"this token needs the weaker way {way!r}, which hsm.allow does not name: {WEAKER_WAYS[way]}"
            )
