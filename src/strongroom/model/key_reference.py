"""The four ways in which a request can name a KMS key (AWS: the KeyId parameter).

    1234abcd-12ab-34cd-56ef-1234567890ab, mrk-…               a key id, in the caller's account and Region
    arn:aws:kms:us-east-1:111122223333:key/1234abcd-…         a key ARN
    alias/ExampleAlias                                        an alias name, in the caller's account and Region
    arn:aws:kms:us-east-1:111122223333:alias/ExampleAlias     an alias ARN

Parsing looks nothing up.
"""

import re
from typing import NamedTuple

from strongroom.errors import NotFound

_KEY_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|mrk-[0-9a-f]{32}")
_ARN = re.compile(r"arn:aws:kms:([a-z0-9-]+):([0-9]{12}):(key/|(?=alias/))(.+)", re.DOTALL)


class KeyReference(NamedTuple):
    """Where to look: `name` is a key id, or an alias name that begins with `alias/`."""

    region: str
    account: str
    name: str

    @property
    def is_alias(self) -> bool:
        """Whether the key is named through an alias."""
        return self.name.startswith("alias/")


def is_key_id(value: str) -> bool:
    """Whether `value` has the form of a key id, of a single-Region or a multi-Region key."""
    return _KEY_ID.fullmatch(value) is not None


def parse_key_reference(value: str, *, region: str, account: str) -> KeyReference:
    """Read a KeyId as given by a caller of `account` in `region`.

    Raises NotFound, with AWS's texts, for a malformed key id and for an ARN of another Region.
    """
    if _KEY_ID.fullmatch(value) or value.startswith("alias/"):
        return KeyReference(region, account, value)
    arn = _ARN.fullmatch(value)
    if arn is None:
        raise NotFound(f"Invalid keyId '{value}'")
    arn_region, arn_account, kind, name = arn.groups()
    if arn_region != region:
        raise NotFound(f"Invalid arn {arn_region}")
    if kind == "key/" and not _KEY_ID.fullmatch(name):
        raise NotFound(f"Invalid keyId '{name}'")
    return KeyReference(arn_region, arn_account, name)
