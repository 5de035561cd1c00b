"""Key material out of the wrapping in which it is imported (AWS: "Select a wrapping algorithm")."""

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

from strongroom.crypto.key_pairs import load_decryption_key
from strongroom.crypto.rsa import MODULUS_BITS
from strongroom.errors import InvalidCiphertext
from strongroom.model.import_key import ImportKey

AES_KEY_BYTES = 32
"""The length of the AES key between the RSA key and the material."""


def unwrap(import_key: ImportKey, private: bytes, encrypted: bytes) -> bytes:
    """Return what was wrapped; `private` is the private half, PKCS #8.

    Raises InvalidCiphertext, the same whatever is wrong with it: who tries wrappings out learns nothing.
    """
    rsa_key = load_decryption_key(import_key.key_spec, private)
    if not import_key.two_steps:
        return rsa_key.decrypt(import_key.oaep, encrypted)
    first, rest = divided(import_key, encrypted)
    return unwrap_second(rsa_key.decrypt(import_key.oaep, first), rest)


def unwrap_second(aes_key: bytes, wrapped: bytes) -> bytes:
    """The second of two steps. Raises InvalidCiphertext, also if the key is not of 256 bits."""
    if len(aes_key) != AES_KEY_BYTES:
        raise InvalidCiphertext
    try:
        return aes_key_unwrap_with_padding(aes_key, wrapped)
    except InvalidUnwrap:
        raise InvalidCiphertext from None


def divided(import_key: ImportKey, encrypted: bytes) -> tuple[bytes, bytes]:
    """What is encrypted under the RSA key, which is as long as its modulus, and what follows."""
    length = MODULUS_BITS[import_key.key_spec] // 8
    return encrypted[:length], encrypted[length:]
