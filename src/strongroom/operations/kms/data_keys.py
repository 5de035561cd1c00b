"""GenerateDataKey and GenerateDataKeyWithoutPlaintext. A data key is never stored."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import UnsupportedOperation, Validation
from strongroom.messages.kms.data_keys import (
    GenerateDataKeyRequest,
    GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextRequest,
    GenerateDataKeyWithoutPlaintextResponse,
)
from strongroom.model.key_specs import DATA_KEY_BYTES, SYMMETRIC_DEFAULT
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.targets import KeyTarget, use_of_encryption_key

_Request = GenerateDataKeyRequest | GenerateDataKeyWithoutPlaintextRequest


def generate_data_key_targets(request: GenerateDataKeyRequest) -> list[KeyTarget]:
    """The key that encrypts the data key."""
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    _check_length(request)
    return [use_of_encryption_key("kms:GenerateDataKey", request.key_id, request.encryption_context)]


def generate_data_key(
    call: Call, request: GenerateDataKeyRequest, keys: Sequence[AuthorizedKey]
) -> GenerateDataKeyResponse:
    """AWS: GenerateDataKey."""
    (key,) = keys
    data_key, blob = _generate(call, request, key)
    return GenerateDataKeyResponse(
        ciphertext_blob=blob, plaintext=data_key, key_id=key.key.arn, key_material_id=key.material_id
    )


def generate_data_key_without_plaintext_targets(
    request: GenerateDataKeyWithoutPlaintextRequest,
) -> list[KeyTarget]:
    """The key that encrypts the data key."""
    _check_length(request)
    return [use_of_encryption_key("kms:GenerateDataKeyWithoutPlaintext", request.key_id, request.encryption_context)]


def generate_data_key_without_plaintext(
    call: Call, request: GenerateDataKeyWithoutPlaintextRequest, keys: Sequence[AuthorizedKey]
) -> GenerateDataKeyWithoutPlaintextResponse:
    """AWS: GenerateDataKeyWithoutPlaintext. The data key leaves this function only encrypted."""
    (key,) = keys
    _, blob = _generate(call, request, key)
    return GenerateDataKeyWithoutPlaintextResponse(
        ciphertext_blob=blob, key_id=key.key.arn, key_material_id=key.material_id
    )


def _generate(call: Call, request: _Request, key: AuthorizedKey) -> tuple[bytes, bytes]:
    """Return a fresh data key and its ciphertext blob."""
    check_algorithm(key.key, SYMMETRIC_DEFAULT)
    data_key = call.key_store.random_bytes(_length(request))
    return data_key, call.open_symmetric(key).encrypt(data_key, request.encryption_context or {})


def _check_length(request: _Request) -> None:
    if (request.key_spec is None) == (request.number_of_bytes is None):
        raise Validation("Please specify either number of bytes or key spec.")


def _length(request: _Request) -> int:
    """Bytes of the data key, after `_check_length`."""
    if request.key_spec is not None:
        return DATA_KEY_BYTES[request.key_spec]
    assert request.number_of_bytes is not None, "checked with the targets"
    return request.number_of_bytes
