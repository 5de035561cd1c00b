"""Sign and Verify."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.crypto.key_pairs import load_verifying_key
from strongroom.errors import Validation
from strongroom.messages.kms.signatures import SignRequest, SignResponse, VerifyRequest, VerifyResponse
from strongroom.model.key_specs import DIGEST, MESSAGE_BYTES, RAW, SIGN_VERIFY
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.targets import KeyTarget, use_of_key


def sign_targets(request: SignRequest) -> list[KeyTarget]:
    """The key to sign with."""
    return [use_of_key("kms:Sign", request.key_id, SIGN_VERIFY)]


def sign(call: Call, request: SignRequest, keys: Sequence[AuthorizedKey]) -> SignResponse:
    """AWS: Sign. Of a message up to 4,096 bytes, or of what stands for a longer one."""
    (key,) = keys
    algorithm, message_type, message = _checked(request, key)
    return SignResponse(
        key_id=key.key.arn,
        signature=call.open_signing(key).sign(algorithm, message_type, message),
        signing_algorithm=algorithm,
    )


def verify_targets(request: VerifyRequest) -> list[KeyTarget]:
    """The key to verify with."""
    return [use_of_key("kms:Verify", request.key_id, SIGN_VERIFY)]


def verify(call: Call, request: VerifyRequest, keys: Sequence[AuthorizedKey]) -> VerifyResponse:
    """AWS: Verify. Raises KMSInvalidSignature: there is no answer that says no."""
    (key,) = keys
    algorithm, message_type, message = _checked(request, key)
    assert request.signature is not None, "the model requires it"
    public_key = load_verifying_key(key.key.key_spec, call.public_key(key))
    public_key.verify(algorithm, message_type, message, request.signature)
    return VerifyResponse(key_id=key.key.arn, signature_valid=True, signing_algorithm=algorithm)


def _checked(request: SignRequest | VerifyRequest, key: AuthorizedKey) -> tuple[str, str, bytes]:
    """Steps 12 and 13: return the algorithm, the message type and the message.

    Raises InvalidKeyUsage; Validation if the algorithm does not take such a message.
    """
    assert request.signing_algorithm is not None, "the model requires it"
    assert request.message is not None, "the model requires it"
    check_algorithm(key.key, request.signing_algorithm)
    message_type = request.message_type or RAW
    lengths = MESSAGE_BYTES[request.signing_algorithm]
    if message_type not in lengths:
        raise Validation(f"Message type {message_type} is incompatible with algorithm {request.signing_algorithm}.")
    if lengths[message_type] not in (None, len(request.message)):
        what = "Digest" if message_type == DIGEST else "Message"
        raise Validation(f"{what} is invalid length for algorithm {request.signing_algorithm}.")
    return request.signing_algorithm, message_type, request.message
