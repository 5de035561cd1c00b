"""A PKCS #11 library in this process: its function table, its calls, and its return codes as a few kinds of errors.

Calls are one-shot (no multi-part operations) and release the interpreter's lock. Whoever calls from two threads gives
each a session of its own. All numbers that the library gives out (sessions, objects) are worth something until it is
finalized, and may then mean something else: `Session.epoch` tells them apart, and `token.py` sees to it.

The published bindings were measured and not taken: two of them crash or are serial with threads.
"""

import ctypes
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import addressof, byref, c_ulong, create_string_buffer, sizeof
from functools import lru_cache
from typing import Any, NamedTuple

from strongroom.errors import ConfigurationError
from strongroom.keystores.hsm import pkcs11 as p11

Value = bool | int | bytes | Sequence[int] | Mapping[int, "Value"]
Call = Callable[..., int]
_Buffer = ctypes.Array[Any] | ctypes.c_ubyte | c_ulong

_ROOM = 16 * 1024
"""Bytes of the buffer for what a call gives back: more than any ciphertext, wrapped key or signature here."""


class Pkcs11Error(Exception):
    """A call that failed. `code` is the standard's CKR number."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} gave back 0x{code:X}")
        self.function = function
        self.code = code


class SessionLostError(Pkcs11Error):
    """The session is gone. Another can be opened."""


class TokenLostError(Pkcs11Error):
    """The token, the login, or the library's connection to it is gone."""


class HandleLostError(Pkcs11Error):
    """The object is not there any more, or not as it was."""


class DataRefusedError(Pkcs11Error):
    """What was given cannot be decrypted, unwrapped or verified."""


class NoRoomError(Pkcs11Error):
    """The token has no memory for another object."""


class NotPossibleError(Pkcs11Error):
    """The token does not do this, or not with this key."""


class PinRefusedError(Pkcs11Error):
    """The PIN is wrong, locked or expired. It must not be tried again."""


class UnclearError(Pkcs11Error):
    """Anything else: a general error, a failed function, no memory, a maker's own code."""


_KINDS: dict[type[Pkcs11Error], tuple[int, ...]] = {
    SessionLostError: (0xB0, 0xB1, 0xB3, 0xB4),  # SESSION_CLOSED, _COUNT, _HANDLE_INVALID, _PARALLEL_NOT_SUPPORTED
    # SLOT_ID_INVALID, DEVICE_ERROR, _REMOVED, TOKEN_NOT_PRESENT, _NOT_RECOGNIZED, USER_NOT_LOGGED_IN,
    # CRYPTOKI_NOT_INITIALIZED
    TokenLostError: (0x03, 0x30, 0x32, 0xE0, 0xE1, 0x101, 0x190),
    NoRoomError: (0x31,),  # DEVICE_MEMORY
    HandleLostError: (0x60, 0x82),  # KEY_HANDLE_INVALID, OBJECT_HANDLE_INVALID
    # DATA_INVALID, _LEN_RANGE, ENCRYPTED_DATA_INVALID, _LEN_RANGE, SIGNATURE_INVALID, _LEN_RANGE, WRAPPED_KEY_INVALID,
    # _LEN_RANGE
    DataRefusedError: (0x20, 0x21, 0x40, 0x41, 0xC0, 0xC1, 0x110, 0x112),
    # FUNCTION_NOT_SUPPORTED, ATTRIBUTE_*, ACTION_PROHIBITED, KEY_*, MECHANISM_*, TEMPLATE_*, UNWRAPPING_KEY_*,
    # WRAPPING_KEY_*, CURVE_NOT_SUPPORTED
    NotPossibleError: (
        0x54, 0x10, 0x11, 0x12, 0x13, 0x1B, 0x62, 0x63, 0x67, 0x68, 0x69, 0x6A, 0x70, 0x71, 0xD0, 0xD1, 0xF0, 0xF1,
        0xF2, 0x113, 0x114, 0x115, 0x140,
    ),
    PinRefusedError: (0xA0, 0xA1, 0xA2, 0xA3, 0xA4),
}  # fmt: skip
_KIND_OF = {code: kind for kind, codes in _KINDS.items() for code in codes}


def _failed(function: str, code: int) -> Pkcs11Error:
    return _KIND_OF.get(code, UnclearError)(function, code)


class Functions:
    """The functions of a library, by their names. A test may put another in the place of one."""

    def __init__(self, calls: Mapping[str, Call]) -> None:
        for name, call in calls.items():
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Call:  # what `__init__` did not set
        raise AttributeError(f"{name} is not a function that is used")


def load(path: str) -> Functions:
    """Load a library. Raises ConfigurationError."""
    try:
        library = ctypes.CDLL(path)
        listed = ctypes.POINTER(p11.CK_FUNCTION_LIST)()
        code = library.C_GetFunctionList(byref(listed))
    except (OSError, AttributeError) as error:
        raise ConfigurationError(f"cannot load the PKCS #11 library {path}: {error}") from None
    if code != p11.CKR_OK:
        raise ConfigurationError(f"the PKCS #11 library {path} gives no list of functions (0x{code:X})")
    calls: dict[str, Call] = {}
    for name, parameters in p11.SIGNATURES.items():
        address = getattr(listed.contents, name)
        if not address:
            raise ConfigurationError(f"the PKCS #11 library {path} has no {name}")
        calls[name] = ctypes.CFUNCTYPE(c_ulong, *parameters)(address)  # type: ignore[arg-type]
    return Functions(calls)


@lru_cache
def open_module(path: str) -> "Module":
    """The library of a path: one for all its tokens. Raises ConfigurationError."""
    return Module(load(path))


class Template:
    """A list of attributes, made once. `MODIFIABLE` comes last: SoftHSM 2.6.1 takes it nowhere else."""

    def __init__(self, attributes: Mapping[int, Value]) -> None:
        ordered = sorted(attributes.items(), key=lambda item: item[0] == p11.CKA_MODIFIABLE)
        self.attributes = (p11.CK_ATTRIBUTE * len(ordered))()
        self.count = len(ordered)
        self._kept: list[object] = []
        for attribute, (kind, value) in zip(self.attributes, ordered, strict=True):
            buffer, length = self._encoded(value)
            self._kept.append(buffer)
            attribute.type, attribute.pValue, attribute.ulValueLen = kind, addressof(buffer), length

    def values(self) -> dict[int, bytes]:
        """The attributes as a token tells them. Not of nested templates, which are addresses here."""
        return {one.type: ctypes.string_at(one.pValue, one.ulValueLen) for one in self.attributes}

    def _encoded(self, value: Value) -> tuple[_Buffer, int]:
        match value:
            case bool():
                return ctypes.c_ubyte(value), 1
            case int():
                return c_ulong(value), sizeof(c_ulong)
            case bytes():
                return create_string_buffer(value, max(1, len(value))), len(value)
            case Mapping():
                inner = Template(value)
                self._kept.append(inner)
                return inner.attributes, sizeof(inner.attributes)
            case _:
                array = (c_ulong * len(value))(*value)
                return array, sizeof(array)


class Mechanism:
    """A mechanism and its parameter, made once."""

    def __init__(self, number: int, parameter: ctypes.Structure | bytes | None = None) -> None:
        held = create_string_buffer(parameter, len(parameter)) if isinstance(parameter, bytes) else parameter
        self._kept = held
        self.structure = p11.CK_MECHANISM(
            number, None if held is None else addressof(held), 0 if held is None else sizeof(held)
        )


class TokenInfo(NamedTuple):
    """What a token says of itself."""

    label: str
    maker: str
    model: str
    serial: str
    flags: int


class Module:
    """A library in this process, for the tokens that are open in it.

    `epoch` is a number of its own for each initialization, 0 while it is not initialized.
    """

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.epoch = 0
        self._last_epoch = 0
        self._users = 0
        _forbid_after_fork(self)

    def enter(self) -> None:
        """Begin to use the library. Raises Pkcs11Error."""
        self._users += 1
        if self._users == 1:
            self.initialize()

    def leave(self) -> None:
        """End to use it; with the last user everything that was opened is given up. No call may be under way."""
        self._users -= 1
        if self._users == 0:
            self.finalize()

    def initialize(self) -> None:
        """Initialize the library for calls from many threads. Raises Pkcs11Error."""
        arguments = p11.CK_C_INITIALIZE_ARGS(None, None, None, None, p11.CKF_OS_LOCKING_OK, None)
        code = self.functions.C_Initialize(byref(arguments))
        if code not in (p11.CKR_OK, p11.CKR_CRYPTOKI_ALREADY_INITIALIZED):
            raise _failed("C_Initialize", code)
        self._last_epoch += 1
        self.epoch = self._last_epoch

    def finalize(self) -> None:
        """Give up everything that was opened. No call may be under way. A failure is of no interest."""
        self.epoch = 0
        self.functions.C_Finalize(None)

    def description(self) -> str:
        """The library's name and version, as it tells them."""
        info = p11.CK_INFO()
        _check("C_GetInfo", self.functions.C_GetInfo(byref(info)))
        name = f"{_text(info.manufacturerID)} {_text(info.libraryDescription)}"
        return f"{name} {info.libraryVersion.major}.{info.libraryVersion.minor}"

    def find_slot(self, label: str) -> int | None:
        """The slot of the token with a label; None if there is none. Raises NotPossibleError if there are two."""
        found = [slot for slot in self._slots() if self._label(slot) == label]
        if len(found) > 1:
            raise NotPossibleError("C_GetSlotList", 0x10)
        return found[0] if found else None

    def _label(self, slot: int) -> str | None:
        try:
            return self.token_info(slot).label
        except Pkcs11Error:
            return None  # another slot's trouble is not ours

    def _slots(self) -> list[int]:
        count = c_ulong()
        _check("C_GetSlotList", self.functions.C_GetSlotList(1, None, byref(count)))
        slots = (c_ulong * count.value)()
        _check("C_GetSlotList", self.functions.C_GetSlotList(1, slots, byref(count)))
        return list(slots[: count.value])

    def token_info(self, slot: int) -> TokenInfo:
        """What the token in a slot says of itself."""
        info = p11.CK_TOKEN_INFO()
        _check("C_GetTokenInfo", self.functions.C_GetTokenInfo(slot, byref(info)))
        return TokenInfo(
            _text(info.label), _text(info.manufacturerID), _text(info.model), _text(info.serialNumber), info.flags
        )

    def mechanisms(self, slot: int) -> frozenset[int]:
        """The mechanisms that the token says it has."""
        count = c_ulong()
        _check("C_GetMechanismList", self.functions.C_GetMechanismList(slot, None, byref(count)))
        numbers = (c_ulong * count.value)()
        _check("C_GetMechanismList", self.functions.C_GetMechanismList(slot, numbers, byref(count)))
        return frozenset(numbers[: count.value])

    def open_session(self, slot: int) -> "Session":
        """Open a session that may change things. Raises Pkcs11Error."""
        number = c_ulong()
        flags = p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION
        _check("C_OpenSession", self.functions.C_OpenSession(slot, flags, None, None, byref(number)))
        return Session(self.functions, number.value, self.epoch)


class Session:
    """A session, for one thread at a time. Buffers are its own and are used again."""

    def __init__(self, functions: Functions, number: int, epoch: int) -> None:
        self._functions = functions
        self._number = number
        self.epoch = epoch
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
        """Log this process in as the token's user. Raises PinRefusedError, and other Pkcs11Error."""
        code = self._functions.C_Login(self._number, p11.CKU_USER, pin, len(pin))
        if code not in (p11.CKR_OK, p11.CKR_USER_ALREADY_LOGGED_IN):
            failed = _failed("C_Login", code)
            if isinstance(failed, TokenLostError | SessionLostError):
                raise failed
            raise PinRefusedError("C_Login", code)  # whatever it says: the token may have counted it

    def random(self, length: int) -> bytes:
        """Random bytes of the token's own generator."""
        code = self._functions.C_GenerateRandom(self._number, self._out_address, length)
        if code:
            raise _failed("C_GenerateRandom", code)
        drawn = ctypes.string_at(self._out_address, length)
        ctypes.memset(self._out_address, 0, length)  # it may become a key
        return drawn

    def create(self, template: Template) -> int:
        """Make an object of values that are given."""
        made, _ = self._handles
        code = self._functions.C_CreateObject(self._number, template.attributes, template.count, made)
        if code:
            raise _failed("C_CreateObject", code)
        return self._handle.value

    def destroy(self, handle: int) -> None:
        """Destroy an object. Such calls are counted in `destroyed`."""
        self.destroyed += 1
        code = self._functions.C_DestroyObject(self._number, handle)
        if code:
            raise _failed("C_DestroyObject", code)

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
        if code and not isinstance(_failed("", code), NotPossibleError):
            raise _failed("C_GetAttributeValue", code)
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
        _check(
            "C_FindObjectsInit", self._functions.C_FindObjectsInit(self._number, template.attributes, template.count)
        )
        try:
            while True:
                _check("C_FindObjects", self._functions.C_FindObjects(self._number, some, len(some), count))
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
            raise _failed("C_GenerateKey", code)
        return self._handle.value

    def generate_pair(self, mechanism: Mechanism, public: Template, private: Template) -> tuple[int, int]:
        """Make a key pair; return the public and the private key. For RSA this takes long."""
        made = c_ulong(), c_ulong()
        code = self._functions.C_GenerateKeyPair(
            self._number, byref(mechanism.structure), public.attributes, public.count, private.attributes,
            private.count, byref(made[0]), byref(made[1]),
        )  # fmt: skip
        if code:
            raise _failed("C_GenerateKeyPair", code)
        return made[0].value, made[1].value

    def wrap(self, mechanism: Mechanism, wrapping_key: int, key: int) -> bytes:
        """Return a key wrapped by another."""
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_WrapKey(
            self._number, byref(mechanism.structure), wrapping_key, key, self._out_address, length
        )
        if code:
            raise _failed("C_WrapKey", code)
        return self._out.raw[: self._length.value]

    def unwrap(self, mechanism: Mechanism, wrapping_key: int, wrapped: bytes, template: Template) -> int:
        """Open a wrapped key inside the token."""
        made, _ = self._handles
        code = self._functions.C_UnwrapKey(
            self._number, byref(mechanism.structure), wrapping_key, wrapped, len(wrapped), template.attributes,
            template.count, made,
        )  # fmt: skip
        if code:
            raise _failed("C_UnwrapKey", code)
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
            raise _failed("C_DeriveKey", code)
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
            raise _failed("C_SignInit", code)
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_Sign(self._number, data, len(data), self._out_address, length)
        if code:
            raise _failed("C_Sign", code)
        signature = ctypes.string_at(self._out_address, self._length.value)
        ctypes.memset(self._out_address, 0, self._length.value)  # a MAC is a secret
        return signature

    def _set_gcm(self, nonce: bytes, associated_data: bytes) -> None:
        self._nonce.raw = nonce
        self._gcm.pAAD, self._gcm.ulAADLen = associated_data, len(associated_data)

    def _encrypt(self, mechanism: object, key: int, plaintext: bytes) -> bytes:
        code = self._functions.C_EncryptInit(self._number, mechanism, key)
        if code:
            raise _failed("C_EncryptInit", code)
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_Encrypt(self._number, plaintext, len(plaintext), self._out_address, length)
        if code:
            raise _failed("C_Encrypt", code)
        return ctypes.string_at(self._out_address, self._length.value)

    def _decrypt(self, mechanism: object, key: int, ciphertext: bytes) -> bytes:
        code = self._functions.C_DecryptInit(self._number, mechanism, key)
        if code:
            raise _failed("C_DecryptInit", code)
        self._length.value = _ROOM
        _, length = self._handles
        code = self._functions.C_Decrypt(self._number, ciphertext, len(ciphertext), self._out_address, length)
        if code:
            raise _failed("C_Decrypt", code)
        plaintext = ctypes.string_at(self._out_address, self._length.value)
        ctypes.memset(self._out_address, 0, self._length.value)  # what callers decrypted is not kept here
        return plaintext


def _text(padded: bytes) -> str:
    return padded.decode(errors="replace").strip()


def _check(function: str, code: int) -> None:
    if code:
        raise _failed(function, code)


def _forbid_after_fork(module: Module) -> None:
    """A child that was forked has the parent's sessions and locks: it must not call the library at all."""
    parent = os.getpid()
    held = weakref.ref(module)

    def forbid(*_: object) -> int:
        raise RuntimeError(f"this process was forked from {parent}, which has the PKCS #11 library open")

    def after() -> None:
        module = held()
        if module is not None:
            module.functions.__dict__.update(dict.fromkeys(p11.SIGNATURES, forbid))

    os.register_at_fork(after_in_child=after)
