"""GenerateMac and VerifyMac."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.messages.kms.macs import GenerateMacRequest, GenerateMacResponse, VerifyMacRequest, VerifyMacResponse
from strongroom.model.key_specs import GENERATE_VERIFY_MAC
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.targets import KeyTarget, use_of_key


def generate_mac_targets(request: GenerateMacRequest) -> list[KeyTarget]:
    """The key of the MAC."""
    return [use_of_key("kms:GenerateMac", request.key_id, GENERATE_VERIFY_MAC)]


def generate_mac(call: Call, request: GenerateMacRequest, keys: Sequence[AuthorizedKey]) -> GenerateMacResponse:
    """AWS: GenerateMac. The whole MAC of a message up to 4,096 bytes."""
    (key,) = keys
    algorithm, message = _checked(request, key)
    return GenerateMacResponse(
        mac=call.open_mac(key).generate(algorithm, message), mac_algorithm=algorithm, key_id=key.key.arn
    )


def verify_mac_targets(request: VerifyMacRequest) -> list[KeyTarget]:
    """The key of the MAC."""
    return [use_of_key("kms:VerifyMac", request.key_id, GENERATE_VERIFY_MAC)]


def verify_mac(call: Call, request: VerifyMacRequest, keys: Sequence[AuthorizedKey]) -> VerifyMacResponse:
    """AWS: VerifyMac. Raises KMSInvalidMac: there is no answer that says no."""
    (key,) = keys
    algorithm, message = _checked(request, key)
    assert request.mac is not None, "the model requires it"
    call.open_mac(key).verify(algorithm, message, request.mac)
    return VerifyMacResponse(key_id=key.key.arn, mac_valid=True, mac_algorithm=algorithm)


def _checked(request: GenerateMacRequest | VerifyMacRequest, key: AuthorizedKey) -> tuple[str, bytes]:
    """Step 12: return the algorithm and the message. Raises InvalidKeyUsage."""
    assert request.mac_algorithm is not None, "the model requires it"
    assert request.message is not None, "the model requires it"
    check_algorithm(key.key, request.mac_algorithm)
    return request.mac_algorithm, request.message
