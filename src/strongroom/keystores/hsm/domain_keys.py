"""The keys that live in the token: made once by `strongroom init --hsm`, found and checked at every opening.

They are AES-256 and HMAC keys that never leave it. All have the installation's id as CKA_ID, and a label that says
their purpose and version. Which versions there are is what the authenticated database says, not what lies in the token:
whoever can write to it could add a key with weaker rules.
"""

import re
import uuid
from collections.abc import Collection, Mapping
from typing import NamedTuple

from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.failures import NotPossibleError, UnclearError
from strongroom.keystores.hsm.mechanisms import wrapping_mechanism
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import CLASSES, secret_key

INTEGRITY = "integrity"
"""HMAC-SHA-256: authenticates wrapped key material and everything else that the token wraps or encrypts."""
SERVICE_KEYS = "service-keys"
"""AES-256-CBC: encrypts the service's own keys (`keystores/domain_keys.py`)."""
SEEDS = "seeds"
"""AES-256-CBC: encrypts the seeds of keys that are used in software, with the operator's leave."""
PURPOSES = (INTEGRITY, SERVICE_KEYS, SEEDS, *CLASSES)

_LABEL = re.compile(rb"strongroom ([a-z-]+) v([0-9]+)")
_KEY_LENGTH = 32


class TokenKeys(NamedTuple):
    """Handles of the domain keys, of one epoch: purpose -> version -> handle."""

    handles: Mapping[str, Mapping[int, int]]

    def newest(self, purpose: str) -> tuple[int, int]:
        """The newest version of a purpose, and its handle."""
        versions = self.handles[purpose]
        version = max(versions)
        return version, versions[version]


def make_domain_keys(session: Session, installation_id: str, version: int, can: Capabilities) -> None:
    """Make a version of every domain key in the token. Raises HsmError if there is one; Pkcs11Error."""
    there = _found(session, installation_id)
    for purpose in PURPOSES:
        if (purpose, version) in there:
            raise HsmError(f"the token has a key {_label(purpose, version)} of this installation already")
    made: list[int] = []
    try:
        for purpose in PURPOSES:
            template = {
                **_rules(purpose, can),
                p11.CKA_VALUE_LEN: _KEY_LENGTH,
                p11.CKA_ID: uuid.UUID(installation_id).bytes,
                p11.CKA_LABEL: _label(purpose, version).encode(),
            }
            make = p11.CKM_GENERIC_SECRET_KEY_GEN if purpose == INTEGRITY else p11.CKM_AES_KEY_GEN
            made.append(session.generate_key(Mechanism(make), Template(template)))
    except BaseException:
        for handle in made:
            session.destroy(handle)
        raise


def destroy_domain_keys(session: Session, installation_id: str, version: int) -> None:
    """Destroy a version of every domain key, as far as they are there. Raises Pkcs11Error."""
    for (_, found), handles in _found(session, installation_id).items():
        if found == version:
            for handle in handles:
                session.destroy(handle)


def find_domain_keys(session: Session, installation_id: str, versions: Collection[int], can: Capabilities) -> TokenKeys:
    """Find the versions of every domain key that there must be, and check that they keep to their rules.

    Raises HsmError if one is missing, or there twice, or is weaker than `make_domain_keys` makes them.
    """
    found = _found(session, installation_id)
    handles: dict[str, dict[int, int]] = {}
    for purpose in PURPOSES:
        for version in versions:
            label = _label(purpose, version)
            objects = found.get((purpose, version), [])
            if len(objects) != 1:
                number = "no key" if not objects else f"{len(objects)} keys"
                raise HsmError(f"the token has {number} {label!r} of installation {installation_id}")
            _check(session, label, objects[0], _rules(purpose, can))
            if purpose in CLASSES and can.unwrap_template:
                _check_template(session, label, objects[0], can)
            handles.setdefault(purpose, {})[version] = objects[0]
    return TokenKeys(handles)


def put_mark(session: Session, mark: bytes) -> int:
    """Put a key that does nothing into the token, under a label that nothing else has; return its handle."""
    template = {**secret_key(p11.CKK_AES, token=True), p11.CKA_VALUE_LEN: _KEY_LENGTH, p11.CKA_LABEL: mark}
    return session.generate_key(Mechanism(p11.CKM_AES_KEY_GEN), Template(template))


def has_mark(session: Session, mark: bytes) -> bool:
    """Whether such a key is there."""
    return bool(session.find(Template({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: mark})))


def _found(session: Session, installation_id: str) -> dict[tuple[str, int], list[int]]:
    found: dict[tuple[str, int], list[int]] = {}
    for handle in session.find(
        Template({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_ID: uuid.UUID(installation_id).bytes})
    ):
        (label,) = session.attributes(handle, [p11.CKA_LABEL])
        named = _LABEL.fullmatch(label or b"")
        if named is not None:
            found.setdefault((named[1].decode(), int(named[2])), []).append(handle)
    return found


def _check(session: Session, label: str, handle: int, rules: Mapping[int, Value]) -> None:
    """Compare what the token says of a key with its rules: somebody with the PIN may have put another in its place."""
    told = [kind for kind in rules if kind != p11.CKA_UNWRAP_TEMPLATE]
    values = session.attributes(handle, [*told, p11.CKA_NEVER_EXTRACTABLE])
    given = Template({kind: rules[kind] for kind in told})
    if values.pop() == b"\x00" or dict(zip(told, values, strict=True)) != given.values():
        raise HsmError(f"the key {label!r} in the token is not as it was made: it could be used otherwise")


def _check_template(session: Session, label: str, handle: int, can: Capabilities) -> None:
    """Try to open a key so that it can be read: a domain key of a class opens only what its template says."""
    assert can.wrap is not None, "needs() refuses a token without"
    mechanism = wrapping_mechanism(can.wrap, bytes(16))
    loose = secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True)
    made = session.generate_key(Mechanism(p11.CKM_AES_KEY_GEN), Template({**loose, p11.CKA_VALUE_LEN: _KEY_LENGTH}))
    with session.holding(made):
        wrapped = session.wrap(mechanism, handle, made)
        try:
            opened = session.unwrap(mechanism, handle, wrapped, Template(loose))
        except (NotPossibleError, UnclearError):
            return
        session.discard(opened)
    raise HsmError(f"the key {label!r} in the token is not as it was made: it opens keys so that they can be read")


def _label(purpose: str, version: int) -> str:
    return f"strongroom {purpose} v{version}"


def _rules(purpose: str, can: Capabilities) -> dict[int, Value]:
    """The attributes of a domain key of a purpose, as strict as the token can be."""
    match purpose:
        case "integrity":
            rules = secret_key(p11.CKK_GENERIC_SECRET, p11.CKA_SIGN, p11.CKA_VERIFY, token=True)
            mechanisms: tuple[int, ...] = (p11.CKM_SHA256_HMAC,)
        case "service-keys" | "seeds":
            rules = secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT, token=True)
            mechanisms = (p11.CKM_AES_CBC_PAD,)
        case _:
            rules = secret_key(p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP, token=True)
            assert can.wrap is not None, "init refuses a token without"
            mechanisms = (can.wrap,)
            if can.unwrap_template:
                rules[p11.CKA_UNWRAP_TEMPLATE] = can.opened_attributes(CLASSES[purpose])
    if can.allowed_mechanisms:
        rules[p11.CKA_ALLOWED_MECHANISMS] = mechanisms
    return rules | can.frozen()
