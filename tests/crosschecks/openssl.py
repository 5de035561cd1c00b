"""OpenSSL's command line: the other implementation of most cross-checks."""

import subprocess
from pathlib import Path

from strongroom.crypto.key_pairs import KeyPair


class Refused(Exception):
    """OpenSSL refused. The message is what it printed."""


def openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    """Run a command of OpenSSL to its end; return what it wrote. Raises Refused."""
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise Refused((done.stdout + done.stderr).decode(errors="replace"))
    return done.stdout


class OpensslKeyPair:
    """A key pair in files, as `openssl pkeyutl` uses it. Always given the message itself, never a digest of ours.

    `options` are AWS's algorithm in the words of `pkeyutl`. Raises Refused.
    """

    def __init__(self, key_pair: KeyPair, folder: Path) -> None:
        self.private, self.public = folder / "private.der", folder / "public.der"
        self.private.write_bytes(key_pair.private)
        self.public.write_bytes(key_pair.public)
        # For Ed25519 the message cannot come from standard input.
        self._message, self._signature = folder / "message", folder / "signature"

    def sign(self, message: bytes, *options: str) -> bytes:
        self._message.write_bytes(message)
        return openssl("pkeyutl", "-sign", "-inkey", self.private, "-rawin", "-in", self._message, *options)

    def verify(self, message: bytes, signature: bytes, *options: str) -> None:
        self._message.write_bytes(message)
        self._signature.write_bytes(signature)
        read = ("-rawin", "-in", self._message, "-sigfile", self._signature)
        openssl("pkeyutl", "-verify", "-pubin", "-inkey", self.public, *read, *options)

    def encrypt(self, plaintext: bytes, *options: str) -> bytes:
        return openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", self.public, *options, stdin=plaintext)

    def decrypt(self, ciphertext: bytes, *options: str) -> bytes:
        return openssl("pkeyutl", "-decrypt", "-inkey", self.private, *options, stdin=ciphertext)

    def derive(self, peer: Path) -> bytes:
        return openssl("pkeyutl", "-derive", "-inkey", self.private, "-peerkey", peer)

    def check(self) -> str:
        """Have both keys checked; return what OpenSSL says of the private one."""
        openssl("pkey", "-pubin", "-in", self.public, "-pubcheck", "-noout")
        return openssl("pkey", "-in", self.private, "-check", "-text", "-noout").decode()

    def public_of_private(self) -> bytes:
        """Return the public key that belongs to the private key, as DER SubjectPublicKeyInfo."""
        return openssl("pkey", "-in", self.private, "-pubout", "-outform", "DER")

    def public_again(self) -> bytes:
        """Return the public key, read and written again."""
        return openssl("pkey", "-pubin", "-in", self.public, "-pubout", "-outform", "DER")
