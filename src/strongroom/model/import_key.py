"""The key pair under which somebody wraps key material to import it (AWS: GetParametersForImport)."""

from msgspec import Struct


class ImportKey(Struct, frozen=True):
    """An RSA key pair for the material of one KMS key. `public_key` is a DER SubjectPublicKeyInfo.

    The private half is wrapped by its key store; `domain_key_version` names the version of the domain key.
    """

    key_spec: str
    key_store: str
    domain_key_version: int
    wrapped: bytes
    public_key: bytes

    def __repr__(self) -> str:
        return f"ImportKey({self.key_spec})"
