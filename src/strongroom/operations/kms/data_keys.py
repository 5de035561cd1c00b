"""Data keys and data key pairs, each with its twin that gives no plaintext. None of them is ever stored."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.crypto.key_pairs import KeyPair
from strongroom.errors import UnsupportedOperation, Validation
from strongroom.messages.kms.data_keys import (
    GenerateDataKeyPairRequest,
    GenerateDataKeyPairResponse,
    GenerateDataKeyPairWithoutPlaintextRequest,
    GenerateDataKeyPairWithoutPlaintextResponse,
    GenerateDataKeyRequest,
    GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextRequest,
    GenerateDataKeyWithoutPlaintextResponse,
)
from strongroom.model.key_specs import DATA_KEY_BYTES, SYMMETRIC_DEFAULT
from strongroom.model.key_states import wrong_origin
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


def generate_data_key_pair_targets(request: GenerateDataKeyPairRequest) -> list[KeyTarget]:
    """The key that encrypts the private key."""
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    return [use_of_encryption_key("kms:GenerateDataKeyPair", request.key_id, request.encryption_context)]


def generate_data_key_pair(
    call: Call, request: GenerateDataKeyPairRequest, keys: Sequence[AuthorizedKey]
) -> GenerateDataKeyPairResponse:
    """AWS: GenerateDataKeyPair. PKCS #8 and SubjectPublicKeyInfo, in DER."""
    (key,) = keys
    pair, blob = _generate_pair(call, request, key)
    return GenerateDataKeyPairResponse(
        private_key_ciphertext_blob=blob,
        private_key_plaintext=pair.private,
        public_key=pair.public,
        key_id=key.key.arn,
        key_pair_spec=request.key_pair_spec,
        key_material_id=key.material_id,
    )


def generate_data_key_pair_without_plaintext_targets(
    request: GenerateDataKeyPairWithoutPlaintextRequest,
) -> list[KeyTarget]:
    """The key that encrypts the private key."""
    action = "kms:GenerateDataKeyPairWithoutPlaintext"
    return [use_of_encryption_key(action, request.key_id, request.encryption_context)]


def generate_data_key_pair_without_plaintext(
    call: Call, request: GenerateDataKeyPairWithoutPlaintextRequest, keys: Sequence[AuthorizedKey]
) -> GenerateDataKeyPairWithoutPlaintextResponse:
    """AWS: GenerateDataKeyPairWithoutPlaintext. The private key leaves this function only encrypted."""
    (key,) = keys
    pair, blob = _generate_pair(call, request, key)
    return GenerateDataKeyPairWithoutPlaintextResponse(
        private_key_ciphertext_blob=blob,
        public_key=pair.public,
        key_id=key.key.arn,
        key_pair_spec=request.key_pair_spec,
        key_material_id=key.material_id,
    )


def _generate_pair(
    call: Call,
    request: GenerateDataKeyPairRequest | GenerateDataKeyPairWithoutPlaintextRequest,
    key: AuthorizedKey,
) -> tuple[KeyPair, bytes]:
    """Return a fresh key pair and the ciphertext blob of its private key."""
    assert request.key_pair_spec is not None, "the model requires it"
    check_algorithm(key.key, SYMMETRIC_DEFAULT)
    if key.key.custom_key_store_id is not None:
        raise wrong_origin(key.key.arn, key.key.origin)
    wrapping_key = call.open_symmetric(key)  # first: a pair that cannot be encrypted need not be made
    pair = call.key_store.generate_key_pair(request.key_pair_spec)
    return pair, wrapping_key.encrypt(pair.private, request.encryption_context or {})


def _generate(call: Call, request: _Request, key: AuthorizedKey) -> tuple[bytes, bytes]:
    """Return a fresh data key and its ciphertext blob."""
    check_algorithm(key.key, SYMMETRIC_DEFAULT)
    data_key = call.random_bytes(key, _length(request))
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
