"""What each key spec can do (AWS: "Key spec reference"). A spec that is not in the table is not built yet.

`KEY_SPECS` is the only place that knows which usages and algorithms go with a spec.
"""

from typing import NamedTuple

ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
MAX_SYMMETRIC_PLAINTEXT = 4096
"""Bytes that Encrypt takes under a symmetric encryption key."""


class KeySpec(NamedTuple):
    """Key usage -> the algorithms a key of this spec and usage offers, in AWS's order."""

    algorithms: dict[str, tuple[str, ...]]


KEY_SPECS = {
    SYMMETRIC_DEFAULT: KeySpec({ENCRYPT_DECRYPT: (SYMMETRIC_DEFAULT,)}),
}

GRANT_OPERATIONS = {
    (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT): frozenset(
        {
            "CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo",
            "RetireGrant",
        }
    ),
}  # fmt: skip
"""Key spec and usage -> the operations that a grant on such a key can be for."""

DATA_KEY_BYTES = {"AES_128": 16, "AES_256": 32}
"""DataKeySpec -> length of the data key in bytes."""
