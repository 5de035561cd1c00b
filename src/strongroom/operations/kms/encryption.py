"""Encrypt and Decrypt."""

from collections.abc import Sequence

from msgspec import Struct

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import UnsupportedOperation, Validation
from strongroom.messages.kms.encryption import (
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
)
from strongroom.model.key_specs import ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.targets import KeyTarget

_IGNORE_CIPHERTEXT = "IGNORE_CIPHERTEXT"


def encrypt_targets(request: EncryptRequest) -> list[KeyTarget]:
    """The key to encrypt under."""
    return [KeyTarget("kms:Encrypt", request.key_id, usage=ENCRYPT_DECRYPT)]


def encrypt(call: Call, request: EncryptRequest, keys: Sequence[AuthorizedKey]) -> EncryptResponse:
    """AWS: Encrypt. Up to 4,096 bytes."""
    (key,) = keys
    algorithm = request.encryption_algorithm or SYMMETRIC_DEFAULT
    check_algorithm(key.key, algorithm)
    assert request.plaintext is not None, "the model requires it"
    return EncryptResponse(
        ciphertext_blob=call.open_symmetric(key).encrypt(request.plaintext, request.encryption_context or {}),
        key_id=key.key.arn,
        encryption_algorithm=algorithm,
    )


def logged_encrypt(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows the algorithm even when the request left it out."""
    assert isinstance(request, EncryptRequest)
    return _logged(request, request.key_id)


def decrypt_targets(request: DecryptRequest) -> list[KeyTarget]:
    """The key that the request names, or else the one that the ciphertext names.

    A dry run may leave the ciphertext out (DryRunModifiers); then it must name the key.
    """
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    if request.dry_run and _IGNORE_CIPHERTEXT in (request.dry_run_modifiers or ()):
        if request.key_id is None:
            raise Validation("KeyId is required when IGNORE_CIPHERTEXT is specified.")
        return [KeyTarget("kms:Decrypt", request.key_id, usage=ENCRYPT_DECRYPT)]
    if request.ciphertext_blob is None:
        raise Validation(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: "
            "Member must not be null"
        )
    return [KeyTarget("kms:Decrypt", request.key_id, request.ciphertext_blob, usage=ENCRYPT_DECRYPT)]


def decrypt(call: Call, request: DecryptRequest, keys: Sequence[AuthorizedKey]) -> DecryptResponse | None:
    """AWS: Decrypt. None for a dry run without a ciphertext, which ends here."""
    (key,) = keys
    algorithm = request.encryption_algorithm or SYMMETRIC_DEFAULT
    check_algorithm(key.key, algorithm)
    if key.ciphertext is None:
        return None
    return DecryptResponse(
        key_id=key.key.arn,
        plaintext=call.open_symmetric(key).decrypt(key.ciphertext, request.encryption_context or {}),
        encryption_algorithm=algorithm,
        key_material_id=key.material_id,
    )


def logged_decrypt(request: Struct, keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail names the key that Decrypt found, and the algorithm even when the request left it out."""
    assert isinstance(request, DecryptRequest)
    logged = _logged(request, keys[0].key.arn if keys else request.key_id)
    if request.dry_run_modifiers:
        logged["dryRunModifiers"] = request.dry_run_modifiers
    return logged


def _logged(request: EncryptRequest | DecryptRequest, key_id: str | None) -> dict[str, object]:
    logged: dict[str, object] = {"encryptionAlgorithm": request.encryption_algorithm or SYMMETRIC_DEFAULT}
    if key_id is not None:
        logged["keyId"] = key_id
    if request.encryption_context:
        logged["encryptionContext"] = request.encryption_context
    if request.dry_run is not None:
        logged["dryRun"] = request.dry_run
    return logged
