"""The key pair under which somebody wraps key material to import it (AWS: GetParametersForImport)."""

from msgspec import Struct

_TWO_STEPS = "RSA_AES_KEY_WRAP_"


def can_wrap(algorithm: str, wrapping_key_spec: str, key_spec: str) -> bool:
    """Whether key material of a key spec fits into what an algorithm encrypts with an RSA key.

    AWS: "Select a wrapping algorithm". What is too long needs an AES key between.
    """
    if algorithm.startswith(_TWO_STEPS):
        return True
    return not key_spec.startswith("RSA") and (key_spec, wrapping_key_spec) != ("ECC_NIST_P521", "RSA_2048")


class ImportKey(Struct, frozen=True):
    """An RSA key pair for the material of one KMS key. `public_key` is a DER SubjectPublicKeyInfo.

    `algorithm` is the wrapping algorithm: RSAES_OAEP_SHA_1 or _256 encrypts the material itself; RSA_AES_KEY_WRAP_SHA_1
    or _256 an AES key of 256 bits, after which follows the material, wrapped under that (RFC 5649).
    The private half is wrapped by its key store; `domain_key_version` names the version of the domain key.
    """

    key_spec: str
    algorithm: str
    key_store: str
    domain_key_version: int
    wrapped: bytes
    public_key: bytes

    @property
    def two_steps(self) -> bool:
        """Whether the RSA key encrypts an AES key, and that the material."""
        return self.algorithm.startswith(_TWO_STEPS)

    @property
    def oaep(self) -> str:
        """The algorithm of the RSA key."""
        return self.algorithm.replace(_TWO_STEPS, "RSAES_OAEP_")

    def __repr__(self) -> str:
        return f"ImportKey({self.key_spec})"
