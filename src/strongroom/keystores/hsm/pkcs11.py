"""Names, numbers and structures of PKCS #11 2.40 (OASIS), as far as they are used here. Its names are kept."""

import ctypes
from ctypes import POINTER, Structure, c_char, c_char_p, c_ubyte, c_ulong, c_void_p

CKF_OS_LOCKING_OK = 0x02
CKF_RW_SESSION = 0x02
CKF_SERIAL_SESSION = 0x04
CKF_TOKEN_INITIALIZED = 0x400
CKF_USER_PIN_COUNT_LOW = 0x10000
CKF_USER_PIN_FINAL_TRY = 0x20000
CKF_USER_PIN_LOCKED = 0x40000
CKU_USER = 1

CKO_PUBLIC_KEY = 2
CKO_PRIVATE_KEY = 3
CKO_SECRET_KEY = 4

CKK_RSA = 0x00
CKK_EC = 0x03
CKK_GENERIC_SECRET = 0x10
CKK_AES = 0x1F

CKA_CLASS = 0x000
CKA_TOKEN = 0x001
CKA_PRIVATE = 0x002
CKA_LABEL = 0x003
CKA_VALUE = 0x011
CKA_KEY_TYPE = 0x100
CKA_ID = 0x102
CKA_SENSITIVE = 0x103
CKA_ENCRYPT = 0x104
CKA_DECRYPT = 0x105
CKA_WRAP = 0x106
CKA_UNWRAP = 0x107
CKA_SIGN = 0x108
CKA_SIGN_RECOVER = 0x109
CKA_VERIFY = 0x10A
CKA_DERIVE = 0x10C
CKA_MODULUS = 0x120
CKA_MODULUS_BITS = 0x121
CKA_PUBLIC_EXPONENT = 0x122
CKA_PRIVATE_EXPONENT = 0x123
CKA_PRIME_1 = 0x124
CKA_PRIME_2 = 0x125
CKA_EXPONENT_1 = 0x126
CKA_EXPONENT_2 = 0x127
CKA_COEFFICIENT = 0x128
CKA_VALUE_LEN = 0x161
CKA_EXTRACTABLE = 0x162
CKA_NEVER_EXTRACTABLE = 0x164
CKA_MODIFIABLE = 0x170
CKA_COPYABLE = 0x171
CKA_EC_PARAMS = 0x180
CKA_EC_POINT = 0x181
CKA_UNWRAP_TEMPLATE = 0x40000212
CKA_ALLOWED_MECHANISMS = 0x40000600

CKM_RSA_PKCS_KEY_PAIR_GEN = 0x0000
CKM_RSA_PKCS = 0x0001
CKM_RSA_X_509 = 0x0003
CKM_RSA_PKCS_OAEP = 0x0009
CKM_RSA_PKCS_PSS = 0x000D
CKM_SHA_1 = 0x0220
CKM_SHA256 = 0x0250
CKM_SHA256_HMAC = 0x0251
CKM_SHA224 = 0x0255
CKM_SHA224_HMAC = 0x0256
CKM_SHA384 = 0x0260
CKM_SHA384_HMAC = 0x0261
CKM_SHA512 = 0x0270
CKM_SHA512_HMAC = 0x0271
CKM_GENERIC_SECRET_KEY_GEN = 0x0350
CKM_EC_KEY_PAIR_GEN = 0x1040
CKM_ECDSA = 0x1041
CKM_ECDH1_DERIVE = 0x1050
CKM_AES_KEY_GEN = 0x1080
CKM_AES_CBC = 0x1082
CKM_AES_CBC_PAD = 0x1085
CKM_AES_GCM = 0x1087
CKM_AES_ECB_ENCRYPT_DATA = 0x1104
CKM_AES_KEY_WRAP_PAD = 0x210A
CKM_AES_KEY_WRAP_KWP = 0x210B

CKG_MGF1_SHA1 = 1
CKG_MGF1_SHA256 = 2
CKG_MGF1_SHA384 = 3
CKG_MGF1_SHA512 = 4
CKZ_DATA_SPECIFIED = 1
CKD_NULL = 1

CKR_OK = 0x000
CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191
CKR_SESSION_COUNT = 0x0B1
CKR_TOKEN_NOT_PRESENT = 0x0E0
CKR_PIN_INCORRECT = 0x0A0
CKR_PIN_LOCKED = 0x0A4
CKR_USER_ALREADY_LOGGED_IN = 0x100
CKR_SIGNATURE_INVALID = 0x0C0

UNAVAILABLE_INFORMATION = ctypes.c_ulong(-1).value
"""The length of an attribute that is not given out."""


class CK_VERSION(Structure):
    _fields_ = [("major", c_ubyte), ("minor", c_ubyte)]


class CK_C_INITIALIZE_ARGS(Structure):
    _fields_ = [
        ("CreateMutex", c_void_p),
        ("DestroyMutex", c_void_p),
        ("LockMutex", c_void_p),
        ("UnlockMutex", c_void_p),
        ("flags", c_ulong),
        ("pReserved", c_void_p),
    ]


class CK_INFO(Structure):
    _fields_ = [
        ("cryptokiVersion", CK_VERSION),
        ("manufacturerID", c_char * 32),
        ("flags", c_ulong),
        ("libraryDescription", c_char * 32),
        ("libraryVersion", CK_VERSION),
    ]


class CK_TOKEN_INFO(Structure):
    _fields_ = [
        ("label", c_char * 32),
        ("manufacturerID", c_char * 32),
        ("model", c_char * 16),
        ("serialNumber", c_char * 16),
        ("flags", c_ulong),
        ("ulMaxSessionCount", c_ulong),
        ("ulSessionCount", c_ulong),
        ("ulMaxRwSessionCount", c_ulong),
        ("ulRwSessionCount", c_ulong),
        ("ulMaxPinLen", c_ulong),
        ("ulMinPinLen", c_ulong),
        ("ulTotalPublicMemory", c_ulong),
        ("ulFreePublicMemory", c_ulong),
        ("ulTotalPrivateMemory", c_ulong),
        ("ulFreePrivateMemory", c_ulong),
        ("hardwareVersion", CK_VERSION),
        ("firmwareVersion", CK_VERSION),
        ("utcTime", c_char * 16),
    ]


class CK_MECHANISM(Structure):
    _fields_ = [("mechanism", c_ulong), ("pParameter", c_void_p), ("ulParameterLen", c_ulong)]


class CK_ATTRIBUTE(Structure):
    _fields_ = [("type", c_ulong), ("pValue", c_void_p), ("ulValueLen", c_ulong)]


class CK_GCM_PARAMS(Structure):
    _fields_ = [
        ("pIv", c_void_p),
        ("ulIvLen", c_ulong),
        ("ulIvBits", c_ulong),
        ("pAAD", c_char_p),
        ("ulAADLen", c_ulong),
        ("ulTagBits", c_ulong),
    ]


class CK_RSA_PKCS_OAEP_PARAMS(Structure):
    _fields_ = [
        ("hashAlg", c_ulong),
        ("mgf", c_ulong),
        ("source", c_ulong),
        ("pSourceData", c_char_p),
        ("ulSourceDataLen", c_ulong),
    ]


class CK_RSA_PKCS_PSS_PARAMS(Structure):
    _fields_ = [("hashAlg", c_ulong), ("mgf", c_ulong), ("sLen", c_ulong)]


class CK_ECDH1_DERIVE_PARAMS(Structure):
    _fields_ = [
        ("kdf", c_ulong),
        ("ulSharedDataLen", c_ulong),
        ("pSharedData", c_char_p),
        ("ulPublicDataLen", c_ulong),
        ("pPublicData", c_char_p),
    ]


class CK_KEY_DERIVATION_STRING_DATA(Structure):
    _fields_ = [("pData", c_char_p), ("ulLen", c_ulong)]


_LIST = [
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetFunctionList",
    "C_GetSlotList",
    "C_GetSlotInfo",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_InitToken",
    "C_InitPIN",
    "C_SetPIN",
    "C_OpenSession",
    "C_CloseSession",
    "C_CloseAllSessions",
    "C_GetSessionInfo",
    "C_GetOperationState",
    "C_SetOperationState",
    "C_Login",
    "C_Logout",
    "C_CreateObject",
    "C_CopyObject",
    "C_DestroyObject",
    "C_GetObjectSize",
    "C_GetAttributeValue",
    "C_SetAttributeValue",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_EncryptInit",
    "C_Encrypt",
    "C_EncryptUpdate",
    "C_EncryptFinal",
    "C_DecryptInit",
    "C_Decrypt",
    "C_DecryptUpdate",
    "C_DecryptFinal",
    "C_DigestInit",
    "C_Digest",
    "C_DigestUpdate",
    "C_DigestKey",
    "C_DigestFinal",
    "C_SignInit",
    "C_Sign",
    "C_SignUpdate",
    "C_SignFinal",
    "C_SignRecoverInit",
    "C_SignRecover",
    "C_VerifyInit",
    "C_Verify",
    "C_VerifyUpdate",
    "C_VerifyFinal",
    "C_VerifyRecoverInit",
    "C_VerifyRecover",
    "C_DigestEncryptUpdate",
    "C_DecryptDigestUpdate",
    "C_SignEncryptUpdate",
    "C_DecryptVerifyUpdate",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_WrapKey",
    "C_UnwrapKey",
    "C_DeriveKey",
    "C_SeedRandom",
    "C_GenerateRandom",
    "C_GetFunctionStatus",
    "C_CancelFunction",
    "C_WaitForSlotEvent",
]


class CK_FUNCTION_LIST(Structure):
    _fields_ = [("version", CK_VERSION), *((name, c_void_p) for name in _LIST)]


_MECHANISM = POINTER(CK_MECHANISM)
_ATTRIBUTES = POINTER(CK_ATTRIBUTE)
_ULONG = POINTER(c_ulong)

SIGNATURES: dict[str, tuple[object, ...]] = {
    "C_Initialize": (c_void_p,),
    "C_Finalize": (c_void_p,),
    "C_GetInfo": (c_void_p,),
    "C_GetSlotList": (c_ubyte, c_void_p, _ULONG),
    "C_GetTokenInfo": (c_ulong, c_void_p),
    "C_GetMechanismList": (c_ulong, c_void_p, _ULONG),
    "C_OpenSession": (c_ulong, c_ulong, c_void_p, c_void_p, _ULONG),
    "C_CloseSession": (c_ulong,),
    "C_Login": (c_ulong, c_ulong, c_char_p, c_ulong),
    "C_CreateObject": (c_ulong, _ATTRIBUTES, c_ulong, _ULONG),
    "C_DestroyObject": (c_ulong, c_ulong),
    "C_GetAttributeValue": (c_ulong, c_ulong, _ATTRIBUTES, c_ulong),
    "C_FindObjectsInit": (c_ulong, _ATTRIBUTES, c_ulong),
    "C_FindObjects": (c_ulong, c_void_p, c_ulong, _ULONG),
    "C_FindObjectsFinal": (c_ulong,),
    "C_EncryptInit": (c_ulong, _MECHANISM, c_ulong),
    "C_Encrypt": (c_ulong, c_char_p, c_ulong, c_void_p, _ULONG),
    "C_DecryptInit": (c_ulong, _MECHANISM, c_ulong),
    "C_Decrypt": (c_ulong, c_char_p, c_ulong, c_void_p, _ULONG),
    "C_DigestInit": (c_ulong, _MECHANISM),
    "C_DigestKey": (c_ulong, c_ulong),
    "C_DigestFinal": (c_ulong, c_void_p, _ULONG),
    "C_SignInit": (c_ulong, _MECHANISM, c_ulong),
    "C_Sign": (c_ulong, c_char_p, c_ulong, c_void_p, _ULONG),
    "C_GenerateKey": (c_ulong, _MECHANISM, _ATTRIBUTES, c_ulong, _ULONG),
    "C_GenerateKeyPair": (c_ulong, _MECHANISM, _ATTRIBUTES, c_ulong, _ATTRIBUTES, c_ulong, _ULONG, _ULONG),
    "C_WrapKey": (c_ulong, _MECHANISM, c_ulong, c_ulong, c_void_p, _ULONG),
    "C_UnwrapKey": (c_ulong, _MECHANISM, c_ulong, c_char_p, c_ulong, _ATTRIBUTES, c_ulong, _ULONG),
    "C_DeriveKey": (c_ulong, _MECHANISM, c_ulong, _ATTRIBUTES, c_ulong, _ULONG),
    "C_GenerateRandom": (c_ulong, c_void_p, c_ulong),
}
"""The functions that are used, and their parameters."""
