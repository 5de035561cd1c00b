"""Secrets of this process, wrapped as a token wraps keys: so that it opens them."""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.padding import PKCS7

from strongroom.keystores.hsm import pkcs11 as p11


def wrapped_in_software(number: int, kek: bytes, iv: bytes, secret: bytes) -> bytes:
    """What a token is to unwrap with the mechanism of a number. `iv` is that of CBC; `secret` is not empty."""
    if number == p11.CKM_AES_CBC_PAD:
        return encrypt_cbc(kek, iv, secret)
    return aes_key_wrap_with_padding(kek, secret)


def encrypt_cbc(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """AES-256-CBC with the padding of PKCS #7."""
    padder = PKCS7(128).padder()
    padded = padder.update(plaintext) + padder.finalize()
    encryptor = Cipher(AES256(key), CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()
