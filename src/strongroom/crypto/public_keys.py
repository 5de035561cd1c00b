"""Public keys between the form that is stored (DER SubjectPublicKeyInfo) and the form that people handle (PEM)."""

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)


def public_key_to_pem(der: bytes) -> bytes:
    """Return a DER SubjectPublicKeyInfo as PEM (RFC 7468). Raises ValueError."""
    return load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_key_from_pem(pem: bytes) -> bytes:
    """Return a PEM public key (RFC 7468) as DER SubjectPublicKeyInfo. Raises ValueError."""
    return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
