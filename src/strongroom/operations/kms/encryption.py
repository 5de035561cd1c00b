"""Encrypt, Decrypt and ReEncrypt."""

from collections.abc import Sequence

from msgspec import Struct

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import UnsupportedOperation, Validation
from strongroom.messages.kms.encryption import (
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    ReEncryptRequest,
    ReEncryptResponse,
)
from strongroom.model.key_specs import SYMMETRIC_DEFAULT
from strongroom.operations.call import Call
from strongroom.operations.kms.algorithms import check_algorithm
from strongroom.operations.logged import members
from strongroom.operations.targets import KeyTarget, use_of_encryption_key

_IGNORE_CIPHERTEXT = "IGNORE_CIPHERTEXT"


def encrypt_targets(request: EncryptRequest) -> list[KeyTarget]:
    """The key to encrypt under."""
    return [
        use_of_encryption_key("kms:Encrypt", request.key_id, request.encryption_context, request.encryption_algorithm)
    ]


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
    """The key that the request names, or else the one that the ciphertext names."""
    if request.recipient is not None:
        raise UnsupportedOperation("Recipient is not supported.")
    return [
        _opening(
            "kms:Decrypt", request, request.key_id, "KeyId", request.encryption_context, request.encryption_algorithm
        )
    ]


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


def re_encrypt_targets(request: ReEncryptRequest) -> list[KeyTarget]:
    """The key to decrypt under, found as Decrypt finds it, and the key to encrypt under."""
    source = _opening(
        "kms:ReEncryptFrom",
        request,
        request.source_key_id,
        "SourceKeyId",
        request.source_encryption_context,
        request.source_encryption_algorithm,
    )
    destination = use_of_encryption_key(
        "kms:ReEncryptTo",
        request.destination_key_id,
        request.destination_encryption_context,
        request.destination_encryption_algorithm,
    )
    return [source, destination]


def re_encrypt(call: Call, request: ReEncryptRequest, keys: Sequence[AuthorizedKey]) -> ReEncryptResponse | None:
    """AWS: ReEncrypt. The plaintext does not leave this function. None for a dry run without a ciphertext."""
    source, destination = keys
    source_algorithm = request.source_encryption_algorithm or SYMMETRIC_DEFAULT
    destination_algorithm = request.destination_encryption_algorithm or SYMMETRIC_DEFAULT
    check_algorithm(source.key, source_algorithm)
    check_algorithm(destination.key, destination_algorithm)
    if source.ciphertext is None:
        return None
    plaintext = call.open_symmetric(source).decrypt(source.ciphertext, request.source_encryption_context or {})
    return ReEncryptResponse(
        ciphertext_blob=call.open_symmetric(destination).encrypt(
            plaintext, request.destination_encryption_context or {}
        ),
        source_key_id=source.key.arn,
        key_id=destination.key.arn,
        source_encryption_algorithm=source_algorithm,
        destination_encryption_algorithm=destination_algorithm,
        source_key_material_id=source.material_id,
        destination_key_material_id=destination.material_id,
    )


def logged_re_encrypt(request: Struct, keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail names the key that ReEncrypt found, and the algorithms even when the request left them out."""
    assert isinstance(request, ReEncryptRequest)
    logged = _logged_re_encrypt(request, keys) or {}
    for side in ("sourceEncryptionAlgorithm", "destinationEncryptionAlgorithm"):
        logged.setdefault(side, SYMMETRIC_DEFAULT)
    if keys:
        logged["sourceKeyId"] = keys[0].key.arn
    return logged


_logged_re_encrypt = members(
    "source_key_id",
    "destination_key_id",
    "source_encryption_algorithm",
    "destination_encryption_algorithm",
    "source_encryption_context",
    "destination_encryption_context",
    "dry_run",
    "dry_run_modifiers",
)


def _opening(
    action: str,
    request: DecryptRequest | ReEncryptRequest,
    key_id: str | None,
    member: str,
    encryption_context: dict[str, str] | None,
    algorithm: str | None,
) -> KeyTarget:
    """The key under which a ciphertext is opened: the one that the request names, or else the ciphertext.

    A dry run may leave the ciphertext out (DryRunModifiers); then `member` must name the key.
    """
    if request.dry_run and _IGNORE_CIPHERTEXT in (request.dry_run_modifiers or ()):
        if key_id is None:
            raise Validation(f"{member} is required when IGNORE_CIPHERTEXT is specified.")
        return use_of_encryption_key(action, key_id, encryption_context, algorithm)
    if request.ciphertext_blob is None:
        raise Validation(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: "
            "Member must not be null"
        )
    return use_of_encryption_key(action, key_id, encryption_context, algorithm, ciphertext=request.ciphertext_blob)


def _logged(request: EncryptRequest | DecryptRequest, key_id: str | None) -> dict[str, object]:
    logged: dict[str, object] = {"encryptionAlgorithm": request.encryption_algorithm or SYMMETRIC_DEFAULT}
    if key_id is not None:
        logged["keyId"] = key_id
    if request.encryption_context:
        logged["encryptionContext"] = request.encryption_context
    if request.dry_run is not None:
        logged["dryRun"] = request.dry_run
    return logged
