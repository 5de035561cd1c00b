"""Key material as objects that stay in a token: made there once, found by their label and id, destroyed.

The label is the ARN of the KMS key, as AWS CloudHSM key stores have it, and the id the 32 bytes of the material's id.
Everything here is work with a session of the token, and raises Pkcs11Error.
"""

from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.capabilities import LastingKeys
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import AES_GCM, AES_XAES, CLASSES

_GENERATION = Mechanism(p11.CKM_AES_KEY_GEN)
_KEY_LENGTH = 32


def make_object(session: Session, key_arn: str, object_id: bytes, can: LastingKeys) -> None:
    """Make an AES-256 key. It takes the place of one that an attempt left whose outcome nobody was told."""
    destroy_objects(session, key_arn, object_id)
    kind = CLASSES[AES_XAES if can.xaes else AES_GCM]
    attributes = {**can.attributes(kind), **_names(key_arn, object_id), p11.CKA_VALUE_LEN: _KEY_LENGTH}
    session.generate_key(_GENERATION, Template(attributes))


def find_object(session: Session, key_arn: str, object_id: bytes) -> int | None:
    """The key; None if there is none, or more than one. One that can be read or taken out of the token is none."""
    safe: dict[int, Value] = {p11.CKA_SENSITIVE: True, p11.CKA_EXTRACTABLE: False}
    found = session.find(Template(_names(key_arn, object_id) | safe))
    return found[0] if len(found) == 1 else None


def destroy_objects(session: Session, key_arn: str, object_id: bytes) -> bool:
    """Destroy whatever has the names of a key; whether nothing that has them is left that can be seen."""
    names = Template(_names(key_arn, object_id))
    for handle in session.find(names):
        session.destroy(handle)
    return not session.find(names)


def _names(key_arn: str, object_id: bytes) -> dict[int, Value]:
    return {p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_LABEL: key_arn.encode(), p11.CKA_ID: object_id}
