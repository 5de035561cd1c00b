"""Import of key material: import keys made in the token, and material taken over that was wrapped under them.

Everything here is work with a session of the token, for `Token.run`. All of it raises Pkcs11Error.
"""

from typing import NamedTuple

from msgspec.structs import replace

from strongroom.crypto.key_pairs import read_key_pair
from strongroom.errors import IncorrectKeyMaterial, KeyUnavailable, UnsupportedOperation
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.blame import KEY_REFUSED, NOT_WRAPPED, certainly
from strongroom.keystores.hsm.domain_keys import TokenKeys
from strongroom.keystores.hsm.examining import answer, public_half
from strongroom.keystores.hsm.making import make_pair
from strongroom.keystores.hsm.materials import KEY_STORE, Materials
from strongroom.keystores.hsm.mechanisms import OaepOpeners
from strongroom.keystores.hsm.templates import (
    CLASSES,
    RSA_DECRYPT,
    RSA_IMPORT,
    MaterialClass,
    class_of,
)
from strongroom.keystores.hsm.token import Lease
from strongroom.keystores.hsm.unwrapping import Unwrapping
from strongroom.keystores.hsm.wrapping import BY_CBC, BY_RFC_5649, Wrapping
from strongroom.keystores.material_ids import MaterialIds
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey


class Imports(NamedTuple):
    """Takes material over. `openers` take paddings off that the token does not; `ids` names what is imported."""

    materials: Materials
    ids: MaterialIds
    openers: OaepOpeners

    def make_key(self, key: KmsKey, key_spec: str, algorithm: str, lease: Lease[TokenKeys]) -> ImportKey:
        """Make an RSA key pair for the material of a key, wrapped. Raises UnsupportedOperation.

        It unwraps and does nothing else, or decrypts and does nothing else where the token cannot unwrap.
        """
        session, keys = lease
        made = ImportKey(key_spec, algorithm, KEY_STORE, 0, b"", b"")
        kind = self._class(key, made)
        version, _ = keys.newest(kind.name)
        handle, public = make_pair(session, kind, key_spec, self.materials.can)
        with session.holding(handle):
            made = replace(made, domain_key_version=version, public_key=public)
            wrapping = Wrapping(session, keys, kind.name, version)
            return replace(made, wrapped=wrapping.wrap(self.materials.wrap, handle, import_binding(key, made)))

    def take(
        self, key: KmsKey, import_key: ImportKey, encrypted: bytes, created: float, lease: Lease[TokenKeys]
    ) -> KeyMaterial:
        """Take material over. Raises InvalidCiphertext, IncorrectKeyMaterial, KeyUnavailable, UnsupportedOperation."""
        import_class = self._class(key, import_key)
        can = self.materials.can
        kind = class_of(key.key_spec, key.key_usage, xaes=can.xaes)
        with lease.session.holding(self._opened(key, import_key, import_class, lease)) as handle:
            in_token = import_class.name == RSA_IMPORT
            padded = not in_token and can.opens_padding(import_key.oaep)
            padding = self.openers.of(import_key.key_spec) if padded else None
            unwrapping = Unwrapping(lease.session, can, import_key, handle, in_token, padding)
            if kind is None:
                return self._seed_taken(key, unwrapping, encrypted, created, lease)
            return self._taken(kind, key, unwrapping, encrypted, created, lease)

    def _taken(
        self,
        kind: MaterialClass,
        key: KmsKey,
        unwrapping: Unwrapping,
        encrypted: bytes,
        created: float,
        lease: Lease[TokenKeys],
    ) -> KeyMaterial:
        can = self.materials.can
        examine = public_half if kind.pair else answer
        with unwrapping.material(encrypted) as wrapped:
            known_by = certainly(
                lambda: examine(wrapped, kind, key, can),
                lambda: unwrapping.check(wrapped),
                refusal=IncorrectKeyMaterial,
                refused=KEY_REFUSED,
            )
            new = self.materials.new(key, self.ids.name(key, known_by), created, known_by if kind.pair else None)
            with wrapped.opened(Template(can.taken_attributes(kind))) as handle:
                return certainly(
                    lambda: self.materials.taken(lease, kind, key, handle, new),
                    unwrapping.prove,
                    refusal=IncorrectKeyMaterial,
                    refused=NOT_WRAPPED,
                )

    def _seed_taken(
        self, key: KmsKey, unwrapping: Unwrapping, encrypted: bytes, created: float, lease: Lease[TokenKeys]
    ) -> KeyMaterial:
        try:
            pair = read_key_pair(key.key_spec, unwrapping.bytes_of(encrypted))
        except ValueError:
            raise IncorrectKeyMaterial from None
        return self.materials.encrypted(key, pair, self.ids.name(key, pair.public), created, lease)

    def _class(self, key: KmsKey, import_key: ImportKey) -> MaterialClass:
        """What an import key may do. Raises UnsupportedOperation if material so wrapped is not taken.

        It follows from the key, the algorithm, the token and what is allowed: while these stay, it does.
        """
        can, allowed = self.materials.can, self.materials.allowed
        way = can.import_way(key.key_spec, import_key.oaep, two_steps=import_key.two_steps)
        if way is None or (way and way not in allowed):
            raise UnsupportedOperation(
                f"{key.key_spec} keys wrapped with {import_key.algorithm} are not supported by this key store."
            )
        return CLASSES[RSA_DECRYPT if way else RSA_IMPORT]

    def _opened(self, key: KmsKey, import_key: ImportKey, kind: MaterialClass, lease: Lease[TokenKeys]) -> int:
        """Open an import key in the token. Raises KeyUnavailable if it is another key's or class's, or was altered."""
        session, keys = lease
        wrapping = Wrapping(session, keys, kind.name, import_key.domain_key_version)
        how = wrapping.check(import_key.wrapped, import_binding(key, import_key))
        if import_key.key_store != KEY_STORE or how not in (BY_RFC_5649, BY_CBC):
            raise KeyUnavailable
        template = Template(self.materials.can.opened_attributes(kind))
        return wrapping.unwrap(self.materials.wrap, import_key.wrapped, template, session)


def import_binding(key: KmsKey, import_key: ImportKey) -> tuple[bytes, ...]:
    """Everything that fixes what an import key is, and for which KMS key."""
    names = (
        "import-key", key.account, key.region, key.key_id, key.key_spec, key.key_usage,
        import_key.key_spec, import_key.algorithm,
    )  # fmt: skip
    return (*(name.encode() for name in names), import_key.public_key)
