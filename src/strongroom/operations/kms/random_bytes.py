"""GenerateRandom."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import CustomKeyStoreNotFound, UnsupportedOperation, Validation
from strongroom.messages.kms.random_bytes import GenerateRandomRequest, GenerateRandomResponse
from strongroom.operations.call import Call
from strongroom.operations.targets import AccountTarget


def generate_random_targets(request: GenerateRandomRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    if request.number_of_bytes is None:
        raise Validation("NumberOfBytes is required.")
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    return [AccountTarget("kms:GenerateRandom")]


def generate_random(
    call: Call, request: GenerateRandomRequest, _keys: Sequence[AuthorizedKey]
) -> GenerateRandomResponse:
    """AWS: GenerateRandom. No custom key store exists yet."""
    if request.custom_key_store_id is not None:
        raise CustomKeyStoreNotFound(f"Custom key store {request.custom_key_store_id} was not found.")
    assert request.number_of_bytes is not None, "checked with the targets"
    return GenerateRandomResponse(plaintext=call.key_store.random_bytes(request.number_of_bytes))
