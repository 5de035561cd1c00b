"""Primitives and formats over pyca/cryptography: bytes in, bytes out."""
