"""GetPublicKey."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.crypto.key_pairs import ASYMMETRIC
from strongroom.errors import UnsupportedOperation
from strongroom.messages.kms.public_keys import GetPublicKeyRequest, GetPublicKeyResponse
from strongroom.model.key_specs import ENCAPSULATE_DECAPSULATE, ENCRYPT_DECRYPT, KEY_AGREEMENT, SIGN_VERIFY
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import offered
from strongroom.operations.targets import KeyTarget, use_of_key


def get_public_key_targets(request: GetPublicKeyRequest) -> list[KeyTarget]:
    """The key pair whose public half is asked for."""
    return [use_of_key("kms:GetPublicKey", request.key_id)]


def get_public_key(call: Call, _request: GetPublicKeyRequest, keys: Sequence[AuthorizedKey]) -> GetPublicKeyResponse:
    """AWS: GetPublicKey. A DER SubjectPublicKeyInfo (RFC 5280)."""
    (key,) = keys
    if key.key.key_spec not in ASYMMETRIC:
        raise UnsupportedOperation
    return GetPublicKeyResponse(
        key_id=key.key.arn,
        public_key=call.public_key(key),
        customer_master_key_spec=key.key.key_spec,
        key_spec=key.key.key_spec,
        key_usage=key.key.key_usage,
        encryption_algorithms=offered(key.key, ENCRYPT_DECRYPT),
        signing_algorithms=offered(key.key, SIGN_VERIFY),
        key_agreement_algorithms=offered(key.key, KEY_AGREEMENT),
        encapsulation_algorithms=offered(key.key, ENCAPSULATE_DECAPSULATE),
    )
