"""Unique ids of identities, and ids of access keys (AWS: "IAM identifiers")."""

import base64
from collections.abc import Callable

USER = "AIDA"
GROUP = "AGPA"
ROLE = "AROA"
POLICY = "ANPA"
ACCESS_KEY = "AKIA"
SESSION = "ASIA"

_LENGTHS = {ACCESS_KEY: 16, SESSION: 16}
"""Characters behind the prefix, where they are not 17."""


def new_unique_id(prefix: str, random_bytes: Callable[[int], bytes]) -> str:
    """Draw an id: the prefix and 17 characters of `A-Z2-7` (85 random bits); 16 for an access key."""
    return prefix + base64.b32encode(random_bytes(11)).decode()[: _LENGTHS.get(prefix, 17)]
