"""GenerateRandom."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import CustomKeyStoreInvalidState, KMSInvalidState, UnsupportedOperation, Validation
from strongroom.messages.kms.random_bytes import GenerateRandomRequest, GenerateRandomResponse
from strongroom.operations.call import Call
from strongroom.operations.targets import AccountTarget, CustomKeyStoreTarget


def generate_random_targets(request: GenerateRandomRequest) -> list[AccountTarget | CustomKeyStoreTarget]:
    """No key: the caller's IAM permission alone. And perhaps a custom key store."""
    if request.number_of_bytes is None:
        raise Validation("NumberOfBytes is required.")
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    if request.custom_key_store_id is None:
        return [AccountTarget("kms:GenerateRandom")]
    return [CustomKeyStoreTarget("kms:GenerateRandom", request.custom_key_store_id, connected=True)]


def generate_random(
    call: Call, request: GenerateRandomRequest, _keys: Sequence[AuthorizedKey]
) -> GenerateRandomResponse:
    """AWS: GenerateRandom, from the HSM cluster of a custom key store if one is named."""
    assert request.number_of_bytes is not None, "checked with the targets"
    if request.custom_key_store_id is None:
        return GenerateRandomResponse(plaintext=call.key_store.random_bytes(request.number_of_bytes))
    store = call.custom_key_store(request.custom_key_store_id).record
    if not store.is_cluster:
        raise UnsupportedOperation(f"Custom key store {store.custom_key_store_id} is an external key store.")
    try:
        return GenerateRandomResponse(
            plaintext=call.custom_key_stores.connection(store).random_bytes(request.number_of_bytes)
        )
    except KMSInvalidState as error:  # which says so of keys
        raise CustomKeyStoreInvalidState(error.message) from None
