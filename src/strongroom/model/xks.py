"""What the XKS proxy serves: key stores under path prefixes, the credentials of their callers, and external keys."""

from msgspec import Struct


class XksStore(Struct, frozen=True):
    """A key store of the proxy: a tenant with credentials, keys, rules and a rate of its own.

    `prefix` stands before `/kms/xks/v1` in its URIs: empty, or a slash and more. `rate` is how many requests a second
    each server process takes. `rules` is JSON: who may do what (`authorization/xks_rules.py`); empty if everyone with a
    credential may. `created` is in seconds since the epoch.
    """

    prefix: str
    created: float
    rate: int
    rules: str = ""


class XksCredential(Struct, frozen=True):
    """A credential that signs requests to a key store of the proxy; a store has two at most.

    `access_key_id` has 20 to 30 of A-Z and 2-7. `sealed_secret` is the secret, 43 to 64 of A-Z, a-z, 0-9, /, + and =,
    sealed under a domain key whose version it names.
    """

    access_key_id: str
    prefix: str
    created: float
    sealed_secret: bytes

    def __repr__(self) -> str:
        return f"XksCredential({self.access_key_id})"


class ExternalKey(Struct, frozen=True):
    """A key that the proxy serves, AES-256: never a KMS key, and never usable as one.

    `material_id` is 64 lower-case hex digits. `algorithm` is as of a KMS key's material: 1 for XAES-256-GCM, 2 for
    AES-256-GCM, whose encryptions are counted in `uses`. `key_store` opens it: `software`, `hsm`, or `object` for an
    object that was in the HSM's token before, whose label is then in `wrapped`.
    """

    prefix: str
    external_key_id: str
    created: float
    enabled: bool
    material_id: str
    algorithm: int
    key_store: str
    domain_key_version: int
    wrapped: bytes
    uses: int | None = None
    recovery: bytes | None = None

    def __repr__(self) -> str:
        return f"ExternalKey({self.prefix} {self.external_key_id})"


class AttachedObject(Struct, frozen=True):
    """An object of the token that is an external key, or was one: its label, and how often it has encrypted till then.

    While it is one, the external key counts. The record stays, so that an object that is attached again does not begin
    anew, and one is attached to one key only.
    """

    label: str
    uses: int
