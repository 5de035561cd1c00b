"""Encrypt, Decrypt and ReEncrypt."""

from collections.abc import Sequence

from msgspec import Struct

from strongroom.authorization.decide import AuthorizedKey
from strongroom.crypto.key_pairs import load_encryption_key
from strongroom.errors import UnsupportedOperation, Validation
from strongroom.messages.kms.encryption import (
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    ReEncryptRequest,
    ReEncryptResponse,
)
from strongroom.model.key_specs import KEY_SPECS, SYMMETRIC_DEFAULT
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
    """AWS: Encrypt. Up to 4,096 bytes, with RSA fewer."""
    (key,) = keys
    algorithm = request.encryption_algorithm or SYMMETRIC_DEFAULT
    check_algorithm(key.key, algorithm)
    _check_context(algorithm, request.encryption_context)
    assert request.plaintext is not None, "the model requires it"
    return EncryptResponse(
        ciphertext_blob=_encrypted(call, key, algorithm, request.plaintext, request.encryption_context),
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
    _check_context(algorithm, request.encryption_context)
    if _ignores_ciphertext(request):
        return None
    return DecryptResponse(
        key_id=key.key.arn,
        plaintext=_decrypted(call, key, algorithm, request.ciphertext_blob, request.encryption_context),
        encryption_algorithm=algorithm,
        key_material_id=_material_told(key),
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
    _check_context(source_algorithm, request.source_encryption_context)
    _check_context(destination_algorithm, request.destination_encryption_context)
    if _ignores_ciphertext(request):
        return None
    plaintext = _decrypted(call, source, source_algorithm, request.ciphertext_blob, request.source_encryption_context)
    return ReEncryptResponse(
        ciphertext_blob=_encrypted(
            call, destination, destination_algorithm, plaintext, request.destination_encryption_context
        ),
        source_key_id=source.key.arn,
        key_id=destination.key.arn,
        source_encryption_algorithm=source_algorithm,
        destination_encryption_algorithm=destination_algorithm,
        source_key_material_id=_material_told(source),
        destination_key_material_id=_material_told(destination),
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

    `member` must name the key if a dry run leaves the ciphertext out (DryRunModifiers), and for RSA, whose ciphertexts
    name no key.
    """
    if _ignores_ciphertext(request):
        if key_id is None:
            raise Validation(f"{member} is required when IGNORE_CIPHERTEXT is specified.")
        return use_of_encryption_key(action, key_id, encryption_context, algorithm)
    if request.ciphertext_blob is None:
        raise Validation(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: "
            "Member must not be null"
        )
    if algorithm not in (None, SYMMETRIC_DEFAULT):
        if key_id is None:
            raise Validation(f"{member} is required when the encryption algorithm is {algorithm}.")
        return use_of_encryption_key(action, key_id, encryption_context, algorithm)
    return use_of_encryption_key(action, key_id, encryption_context, algorithm, ciphertext=request.ciphertext_blob)


def _ignores_ciphertext(request: DecryptRequest | ReEncryptRequest) -> bool:
    return bool(request.dry_run) and _IGNORE_CIPHERTEXT in (request.dry_run_modifiers or ())


def _encrypted(
    call: Call, key: AuthorizedKey, algorithm: str, plaintext: bytes, encryption_context: dict[str, str] | None
) -> bytes:
    """Steps 13 and 14: encrypt with a key that offers the algorithm. Raises Validation."""
    if algorithm == SYMMETRIC_DEFAULT:
        return call.open_symmetric(key).encrypt(plaintext, encryption_context or {})
    spec = key.key.key_spec
    limit = KEY_SPECS[spec].plaintext[algorithm]
    if len(plaintext) > limit:
        raise Validation(f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {limit} bytes.")
    return load_encryption_key(spec, call.public_key(key)).encrypt(algorithm, plaintext)


def _decrypted(
    call: Call, key: AuthorizedKey, algorithm: str, ciphertext: bytes | None, encryption_context: dict[str, str] | None
) -> bytes:
    """Step 14: decrypt with a key that offers the algorithm. Raises InvalidCiphertext, Validation."""
    if algorithm == SYMMETRIC_DEFAULT:
        assert key.ciphertext is not None, "the target had it"
        return call.open_symmetric(key).decrypt(key.ciphertext, encryption_context or {})
    assert ciphertext is not None, "checked with the targets"
    return call.open_decryption(key).decrypt(algorithm, ciphertext)


def _check_context(algorithm: str, encryption_context: dict[str, str] | None) -> None:
    """Refuse what an asymmetric algorithm cannot authenticate (AWS: Encrypt, the EncryptionContext parameter)."""
    if encryption_context and algorithm != SYMMETRIC_DEFAULT:
        raise Validation("An encryption context cannot be specified with an asymmetric KMS key.")


def _material_told(key: AuthorizedKey) -> str | None:
    """The id of the key material used: AWS tells it of symmetric keys alone."""
    return key.material_id if key.key.key_spec == SYMMETRIC_DEFAULT else None


def _logged(request: EncryptRequest | DecryptRequest, key_id: str | None) -> dict[str, object]:
    logged: dict[str, object] = {"encryptionAlgorithm": request.encryption_algorithm or SYMMETRIC_DEFAULT}
    if key_id is not None:
        logged["keyId"] = key_id
    if request.encryption_context:
        logged["encryptionContext"] = request.encryption_context
    if request.dry_run is not None:
        logged["dryRun"] = request.dry_run
    return logged
