"""DeriveSharedSecret."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import UnsupportedOperation
from strongroom.messages.kms.key_agreement import DeriveSharedSecretRequest, DeriveSharedSecretResponse
from strongroom.model.key_specs import KEY_AGREEMENT
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.targets import KeyTarget, use_of_key


def derive_shared_secret_targets(request: DeriveSharedSecretRequest) -> list[KeyTarget]:
    """Our side of the agreement."""
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    return [use_of_key("kms:DeriveSharedSecret", request.key_id, KEY_AGREEMENT)]


def derive_shared_secret(
    call: Call, request: DeriveSharedSecretRequest, keys: Sequence[AuthorizedKey]
) -> DeriveSharedSecretResponse:
    """AWS: DeriveSharedSecret. The raw secret; to derive keys from it is the caller's."""
    (key,) = keys
    assert request.key_agreement_algorithm is not None, "the model requires it"
    assert request.public_key is not None, "the model requires it"
    check_algorithm(key.key, request.key_agreement_algorithm)
    return DeriveSharedSecretResponse(
        key_id=key.key.arn,
        shared_secret=call.open_agreement(key).shared_secret(request.public_key),
        key_agreement_algorithm=request.key_agreement_algorithm,
        key_origin=key.key.origin,
    )
