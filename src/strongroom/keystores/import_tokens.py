"""Import tokens: opaque bytes that carry an import key (AWS: GetParametersForImport; docs/formats/wrapped-keys.md).

    token = version of the domain key (4 bytes) || wrapped import parameters

Nobody else can make one or read it. It holds all that is needed to import, so that no server needs to remember it.
"""

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from msgspec import Struct

from strongroom.crypto.xaes import XaesKey
from strongroom.errors import InvalidImportToken
from strongroom.keystores.sealed import SealingKeys
from strongroom.model.import_key import ImportKey

_PURPOSE = "import-token"


class ImportParameters(Struct, frozen=True):
    """What a token says: whose material may be imported until `valid_to` (seconds since the epoch), under which key."""

    account: str
    region: str
    key_id: str
    valid_to: float
    import_key: ImportKey


_PARAMETERS = msgspec.msgpack.Decoder(ImportParameters)


class ImportTokens:
    """Makes and opens the import tokens of this installation. Safe to share between threads."""

    def __init__(self, wrapping_keys: Mapping[int, XaesKey]) -> None:
        """`wrapping_keys` are the versions of the domain key `sealed-secrets`; the newest makes tokens."""
        self._keys = SealingKeys(wrapping_keys)

    def __repr__(self) -> str:
        return "ImportTokens()"

    def seal(self, parameters: ImportParameters) -> bytes:
        """Return the token of import parameters, 3.5 KB at most."""
        return self._keys.seal(msgspec.msgpack.encode(parameters), _PURPOSE)

    def open(self, token: bytes) -> ImportParameters:
        """Return what a token says, whether or not it is still valid.

        Raises InvalidImportToken for anything that `seal` did not return here.
        """
        try:
            return _PARAMETERS.decode(self._keys.open(token, _PURPOSE))
        except InvalidTag:
            raise InvalidImportToken from None
