"""A session of a PKCS #11 library: its calls.

They are one-shot (no multi-part operations) and release the interpreter's lock. Whoever calls from two threads gives
each a session of its own. All numbers that the library gives out (sessions, objects) are worth something until it is
finalized or they are closed, and may then mean something else: `Session.epoch` tells them apart, and `token.py` sees to
it.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import addressof, byref, c_ulong, create_string_buffer, sizeof

from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.failures import (
    NotPossibleError,
    PinRefusedError,
    Pkcs11Error,
    SessionLostError,
    TokenLostError,
    UserRefusedError,
    check,
    failed,
)
from strongroom.keystores.hsm.functions import Functions

_ROOM = 16 * 1024
"""Bytes of the buffer for what a call gives back: more than any ciphertext, wrapped key or signature here."""


class Session:
    """A session with the token in a slot, for one thread at a time. Buffers are its own and are used again."""

    def __init__(self, functions: Functions, number: int, slot: int) -> None:
        self._functions = functions
        self._number = number
        self.slot = slot
        self.epoch = 0
        """When it was opened, as its token counts (`token.py`)."""
        self.destroyed = 0
        self.worn = False
        """Whether it is to be closed after use, and not used again."""
        self._length = c_ulong()
        self._handle = c_ulong()
        self._handles = (byref(self._handle), byref(self._length))
        self._out = create_string_buffer(_ROOM)
        self._out_address = addressof(self._out)
        self._nonce = create_string_buffer(12)
        self._gcm = p11.CK_GCM_PARAMS(addressof(self._nonce), 12, 96, None, 0, 128)
        self._gcm_mechanism = byref(p11.CK_MECHANISM(p11.CKM_AES_GCM, addressof(self._gcm), sizeof(self._gcm)))
        self._data = p11.CK_KEY_DERIVATION_STRING_DATA()
        self._data_mechanism = byref(
            p11.CK_MECHANISM(p11.CKM_AES_ECB_ENCRYPT_DATA, addressof(self._data), sizeof(self._data))
        )

    def close(self) -> None:
        """Close it; the session objects that it made are gone. A failure is of no interest."""
        self._functions.C_CloseSession(self._number)

    def login(self, pin: bytes) -> None:
        """Log this process in as the token's user. Raises PinRefusedError, UserRefusedError, other Pkcs11Error."""
        code = self._functions.C_Login(self._number, p11.CKU_USER, pin, len(pin))
        if code not in (p11.CKR_OK, p11.CKR_USER_ALREADY_LOGGED_IN):
            refused = failed("C_Login", code)
            if isinstance(refused, TokenLostError | SessionLostError | UserRefusedError):
                raise refused
            raise PinRefusedError("C_Login", code)  # whatever it says: the token may have counted it

    def random(self, length: int) -> bytes:
        """Random bytes of the token's own generator."""
        code = self._functions.C_GenerateRandom(self._number, self._out_address, length)
        if code:
            raise failed("C_GenerateRandom", code)
        drawn = ctypes.string_at(self._out_address, length)
        ctypes.memset(self._out_address, 0, length)  # it may become a key
        return drawn

    def create(self, template: Template) -> int:
        """Make an object of values that are given."""
        made, _ = self._handles
        code = self._functions.C_CreateObject(self._number, template.attributes, template.count, made)
        if code:
            raise failed("C_CreateObject", code)
        return self._handle.value

    def destroy(self, handle: int) -> None:
        """Destroy an object. Such calls are counted in `destroyed`."""
        self.destroyed += 1
        code = self._functions.C_DestroyObject(self._number, handle)
        if code:
            raise failed("C_DestroyObject", code)

    def discard(self, handle: int) -> None:
        """Destroy an object of this session's own. If it cannot be, the session is closed after use, and it with it."""
        try:
            self.destroy(handle)
        except Pkcs11Error:
            self.worn = True

    @contextmanager
    def holding(self, handle: int) -> Iterator[int]:
        """Have an object of this session's own until the block ends."""
        try:
            yield handle
        finally:
            self.discard(handle)

    def attributes(self, handle: int, kinds: Sequence[int]) -> list[bytes | None]:
        """Values of attributes; None for one that the token does not give out or does not have."""
        values = (p11.CK_ATTRIBUTE * len(kinds))()
        room = _ROOM // len(kinds)
        for number, (value, kind) in enumerate(zip(values, kinds, strict=True)):
            value.type, value.pValue, value.ulValueLen = kind, self._out_address + number * room, room
        code = self._functions.C_GetAttributeValue(self._number, handle, values, len(kinds))
        if code and not isinstance(failed("", code), NotPossibleError):
            raise failed("C_GetAttributeValue", code)
        raw = self._out.raw
        ctypes.memset(self._out_address, 0, _ROOM)  # of keys that are given away, and of secrets
        return [
            None
            if value.ulValueLen == p11.UNAVAILABLE_INFORMATION
            else raw[number * room : number * room + value.ulValueLen]
            for number, value in enumerate(values)
        ]

    def find(self, template: Template) -> list[int]:
        """The objects that have all attributes of a template."""
        some = (c_ulong * 100)()
        found: list[int] = []
        _, count = self._handles
        check("C_FindObjectsInit", self._functions.C_FindObjectsInit(self._number, template.attributes, template.count))
        try:
            while True:
                check("C_FindObjects", self._functions.C_FindObjects(self._number, some, len(some), count))
                if self._length.value == 0:
                    return found
                found += some[: self._length.value]
        finally:
            self._functions.C_FindObjectsFinal(self._number)

    def generate_key(self, mechanism: Mechanism, template: Template) -> int:
        """Make a secret key."""
        made, _ = self._handles
        code = self._functions.C_GenerateKey(
            self._number, byref(mechanism.structure), template.attributes, template.count, made
        )
        if code:
            raise failed("C_GenerateKey", code)
        return self._handle.value

    def generate_pair(self, mechanism: Mechanism, public: Template, private: Template) -> tuple[int, int]:
        """Make a key pair; return the public and the private key. For RSA this takes long."""
        made = c_ulong(), c_ulong()
        code = self._functions.C_GenerateKeyPair(
            self._number, byref(mechanism.structure), public.attributes, public.count, private.attributes,
            private.count, byref(made[0]), byref(made[1]),
        )  # fmt: skip
        if code:
            raise failed("C_GenerateKeyPair", code)
        return made[0].value, made[1].value

    def wrap(self, mechanism: Mechanism, wrapping_key: int, key: int) -> bytes:
        """Return a key wrapped by another."""
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_WrapKey(
            self._number, byref(mechanism.structure), wrapping_key, key, self._out_address, length
        )
        if code:
            raise failed("C_WrapKey", code)
        return self._out.raw[: self._length.value]

    def unwrap(self, mechanism: Mechanism, wrapping_key: int, wrapped: bytes, template: Template) -> int:
        """Open a wrapped key inside the token."""
        made, _ = self._handles
        code = self._functions.C_UnwrapKey(
            self._number, byref(mechanism.structure), wrapping_key, wrapped, len(wrapped), template.attributes,
            template.count, made,
        )  # fmt: skip
        if code:
            raise failed("C_UnwrapKey", code)
        return self._handle.value

    def derive(self, mechanism: Mechanism, key: int, template: Template) -> int:
        """Derive a key from another."""
        return self._derive(byref(mechanism.structure), key, template)

    def derive_by_encryption(self, key: int, blocks: bytes, template: Template) -> int:
        """Derive the key that is the encryption of whole blocks (CKM_AES_ECB_ENCRYPT_DATA)."""
        self._data.pData, self._data.ulLen = blocks, len(blocks)
        return self._derive(self._data_mechanism, key, template)

    def _derive(self, mechanism: object, key: int, template: Template) -> int:
        made, _ = self._handles
        code = self._functions.C_DeriveKey(self._number, mechanism, key, template.attributes, template.count, made)
        if code:
            raise failed("C_DeriveKey", code)
        return self._handle.value

    def encrypt_gcm(self, key: int, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Encrypt with AES-GCM; return the ciphertext and its 16-byte tag."""
        self._set_gcm(nonce, associated_data)
        return self._encrypt(self._gcm_mechanism, key, plaintext)

    def decrypt_gcm(self, key: int, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Decrypt with AES-GCM what ends with a 16-byte tag."""
        self._set_gcm(nonce, associated_data)
        return self._decrypt(self._gcm_mechanism, key, ciphertext)

    def encrypt(self, mechanism: Mechanism, key: int, plaintext: bytes) -> bytes:
        """Encrypt."""
        return self._encrypt(byref(mechanism.structure), key, plaintext)

    def decrypt(self, mechanism: Mechanism, key: int, ciphertext: bytes) -> bytes:
        """Decrypt."""
        return self._decrypt(byref(mechanism.structure), key, ciphertext)

    def sign(self, mechanism: Mechanism, key: int, data: bytes) -> bytes:
        """Sign, or make a MAC."""
        code = self._functions.C_SignInit(self._number, byref(mechanism.structure), key)
        if code:
            raise failed("C_SignInit", code)
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_Sign(self._number, data, len(data), self._out_address, length)
        if code:
            raise failed("C_Sign", code)
        signature = ctypes.string_at(self._out_address, self._length.value)
        ctypes.memset(self._out_address, 0, self._length.value)  # a MAC is a secret
        return signature

    def digest_key(self, mechanism: Mechanism, key: int) -> bytes:
        """Hash the value of a key. The one operation in parts: if one fails the session is closed after use."""
        _, length = self._handles
        self._length.value = _ROOM
        for name, arguments in (
            ("C_DigestInit", (byref(mechanism.structure),)),
            ("C_DigestKey", (key,)),
            ("C_DigestFinal", (self._out_address, length)),
        ):
            code = getattr(self._functions, name)(self._number, *arguments)
            if code:
                self.worn = True
                raise failed(name, code)
        digest = ctypes.string_at(self._out_address, self._length.value)
        ctypes.memset(self._out_address, 0, self._length.value)  # the hash of a key can be a key
        return digest

    def _set_gcm(self, nonce: bytes, associated_data: bytes) -> None:
        self._nonce.raw = nonce
        self._gcm.pAAD, self._gcm.ulAADLen = associated_data, len(associated_data)

    def _encrypt(self, mechanism: object, key: int, plaintext: bytes) -> bytes:
        code = self._functions.C_EncryptInit(self._number, mechanism, key)
        if code:
            raise failed("C_EncryptInit", code)
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_Encrypt(self._number, plaintext, len(plaintext), self._out_address, length)
        if code:
            raise failed("C_Encrypt", code)
        return ctypes.string_at(self._out_address, self._length.value)

    def _decrypt(self, mechanism: object, key: int, ciphertext: bytes) -> bytes:
        code = self._functions.C_DecryptInit(self._number, mechanism, key)
        if code:
            raise failed("C_DecryptInit", code)
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_Decrypt(self._number, ciphertext, len(ciphertext), self._out_address, length)
        if code:
            raise failed("C_Decrypt", code)
        plaintext = ctypes.string_at(self._out_address, self._length.value)
        ctypes.memset(self._out_address, 0, self._length.value)  # what callers decrypted is not kept here
        return plaintext
