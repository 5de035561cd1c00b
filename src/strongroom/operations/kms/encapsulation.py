"""Encapsulate and Decapsulate."""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.crypto.key_pairs import load_encapsulation_key
from strongroom.messages.kms.encapsulation import (
    DecapsulateRequest,
    DecapsulateResponse,
    EncapsulateRequest,
    EncapsulateResponse,
)
from strongroom.model.key_specs import ENCAPSULATE_DECAPSULATE
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.targets import KeyTarget, use_of_key


def encapsulate_targets(request: EncapsulateRequest) -> list[KeyTarget]:
    """The key pair with whose public half the secret is made."""
    return [use_of_key("kms:Encapsulate", request.key_id, ENCAPSULATE_DECAPSULATE)]


def encapsulate(call: Call, request: EncapsulateRequest, keys: Sequence[AuthorizedKey]) -> EncapsulateResponse:
    """AWS: Encapsulate. A fresh secret of 32 bytes, and the ciphertext that carries it."""
    (key,) = keys
    assert request.encapsulation_algorithm is not None, "the model requires it"
    check_algorithm(key.key, request.encapsulation_algorithm)
    shared_secret, ciphertext = load_encapsulation_key(key.key.key_spec, call.public_key(key)).encapsulate()
    return EncapsulateResponse(
        key_id=key.key.arn,
        shared_secret=shared_secret,
        shared_secret_ciphertext_blob=ciphertext,
        encapsulation_algorithm=request.encapsulation_algorithm,
    )


def decapsulate_targets(request: DecapsulateRequest) -> list[KeyTarget]:
    """The key pair with whose private half the secret is taken out."""
    return [use_of_key("kms:Decapsulate", request.key_id, ENCAPSULATE_DECAPSULATE)]


def decapsulate(call: Call, request: DecapsulateRequest, keys: Sequence[AuthorizedKey]) -> DecapsulateResponse:
    """AWS: Decapsulate. A ciphertext that another key made gives another secret, not an error."""
    (key,) = keys
    assert request.encapsulation_algorithm is not None, "the model requires it"
    assert request.shared_secret_ciphertext_blob is not None, "the model requires it"
    check_algorithm(key.key, request.encapsulation_algorithm)
    return DecapsulateResponse(
        key_id=key.key.arn,
        shared_secret=call.open_decapsulation(key).decapsulate(request.shared_secret_ciphertext_blob),
        encapsulation_algorithm=request.encapsulation_algorithm,
    )
