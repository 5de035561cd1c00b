"""GetParametersForImport, ImportKeyMaterial, DeleteImportedKeyMaterial. `jobs/expiry.py` deletes what expired."""

from collections.abc import Sequence

from msgspec import Struct, structs

from strongroom.audit.record import shown_time
from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import (
    ExpiredImportToken,
    IncorrectKeyMaterial,
    InvalidImportToken,
    KeyUnavailable,
    KMSInvalidState,
    NotFound,
    UnsupportedOperation,
    Validation,
)
from strongroom.keystores.import_tokens import ImportParameters
from strongroom.messages.kms.imported_material import (
    DeleteImportedKeyMaterialRequest,
    DeleteImportedKeyMaterialResponse,
    GetParametersForImportRequest,
    GetParametersForImportResponse,
    ImportKeyMaterialRequest,
    ImportKeyMaterialResponse,
)
from strongroom.model.import_key import ImportKey, can_wrap
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import EXTERNAL, SYMMETRIC_DEFAULT
from strongroom.model.key_states import ENABLED, PENDING_IMPORT, wrong_origin
from strongroom.operations.call import Call, Change
from strongroom.operations.key_material import DOES_NOT_EXPIRE, EXPIRES, associated, complete, removal
from strongroom.operations.logged import members
from strongroom.operations.related_keys import copied, not_primary, others, replaced
from strongroom.operations.targets import KeyTarget
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Insert, Replace, Write

_TOKEN_SECONDS = 24 * 3_600
_LONGEST_VALIDITY = 365 * 86_400
"""Seconds from an import to the latest date on which its material may expire."""

_NEW = "NEW_KEY_MATERIAL"
_EXISTING = "EXISTING_KEY_MATERIAL"
_OF_SYMMETRIC_KEYS = {
    "import_type": "ImportType",
    "key_material_description": "KeyMaterialDescription",
    "key_material_id": "KeyMaterialId",
}
"""What can be said of the material of symmetric encryption keys alone."""

_logged_of_symmetric = members(*_OF_SYMMETRIC_KEYS)


def get_parameters_for_import_targets(request: GetParametersForImportRequest) -> list[KeyTarget]:
    """The key whose material is to be imported."""
    if request.wrapping_algorithm == "RSAES_PKCS1_V1_5":
        raise UnsupportedOperation("The wrapping algorithm RSAES_PKCS1_V1_5 is not supported.")
    return [KeyTarget("kms:GetParametersForImport", request.key_id)]


def get_parameters_for_import(
    call: Call, request: GetParametersForImportRequest, keys: Sequence[AuthorizedKey]
) -> GetParametersForImportResponse:
    """AWS: GetParametersForImport. Nothing is stored: the token holds the private half, for this service alone."""
    (authorized,) = keys
    key = authorized.key
    _check_origin(key)
    algorithm, key_spec = request.wrapping_algorithm or "", request.wrapping_key_spec or ""
    if not can_wrap(algorithm, key_spec, key.key_spec):
        raise UnsupportedOperation(
            f"The wrapping algorithm {algorithm} with a wrapping key of {key_spec} is not supported for key material "
            f"of {key.key_spec}."
        )
    valid_to = round(call.now, 3) + _TOKEN_SECONDS
    import_key = call.key_store.new_import_key(key, key_spec, algorithm)
    parameters = ImportParameters(key.account, key.region, key.key_id, valid_to, import_key)
    return GetParametersForImportResponse(
        key_id=key.arn,
        import_token=call.seals.import_tokens.seal(parameters),
        public_key=import_key.public_key,
        parameters_valid_to=valid_to,
    )


def import_key_material_targets(request: ImportKeyMaterialRequest) -> list[KeyTarget]:
    """The key to import into."""
    expires = (request.expiration_model or EXPIRES) == EXPIRES
    if expires and request.valid_to is None:
        raise Validation(f"A validTo date must be set if the ExpirationModel is {EXPIRES}")
    if not expires and request.valid_to is not None:
        raise Validation(f"A validTo date cannot be set if the ExpirationModel is {DOES_NOT_EXPIRE}")
    if request.import_type == _NEW and request.key_material_id is not None:
        raise Validation(f"A KeyMaterialId cannot be specified with the ImportType {_NEW}")
    return [KeyTarget("kms:ImportKeyMaterial", request.key_id)]


def import_key_material(call: Call, request: ImportKeyMaterialRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: ImportKeyMaterial. A token is good for more than one import, as long as it is valid."""
    (authorized,) = keys
    key = authorized.key
    _check_origin(key)
    _check_said_of(key, request)
    _check_valid_to(request.valid_to, call.now)
    import_key = _import_key(call, key, request.import_token or b"")
    created = round(call.now, 3)
    try:
        imported = call.key_store.import_material(
            key, import_key, request.encrypted_key_material or b"", created=created
        )
    except KeyUnavailable:  # by a key store that is another one now
        raise InvalidImportToken from None
    imported = structs.replace(imported, valid_to=request.valid_to, description=request.key_material_description)
    entry = call.entry(authorized)
    known = _exists(entry, request, imported)
    writes = (_as_existing if known else _as_new)(call.snapshot, entry, imported)
    told = imported.material_id if key.key_spec == SYMMETRIC_DEFAULT else None
    return Change(ImportKeyMaterialResponse(key_id=key.arn, key_material_id=told), writes)


def logged_import(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows the expiration settings, and neither the token nor the material."""
    assert isinstance(request, ImportKeyMaterialRequest)
    logged: dict[str, object] = {"keyId": request.key_id, "expirationModel": request.expiration_model or EXPIRES}
    if request.valid_to is not None:
        logged["validTo"] = shown_time(request.valid_to)
    return logged | (_logged_of_symmetric(request, ()) or {})


def delete_imported_key_material_targets(request: DeleteImportedKeyMaterialRequest) -> list[KeyTarget]:
    """The key whose material is deleted."""
    return [KeyTarget("kms:DeleteImportedKeyMaterial", request.key_id)]


def delete_imported_key_material(
    call: Call, request: DeleteImportedKeyMaterialRequest, keys: Sequence[AuthorizedKey]
) -> Change:
    """AWS: DeleteImportedKeyMaterial. Of material that is not there nothing is changed, and nothing is wrong."""
    (authorized,) = keys
    key = authorized.key
    _check_origin(key)
    entry = call.entry(authorized)
    material_id = request.key_material_id or key.current_material_id
    if request.key_material_id is not None and request.key_material_id not in entry.materials:
        raise NotFound(f"Key material '{request.key_material_id}' does not exist for key '{key.arn}'")
    told = material_id if key.key_spec == SYMMETRIC_DEFAULT and material_id else None
    response = DeleteImportedKeyMaterialResponse(key_id=key.arn, key_material_id=told)
    material = entry.materials.get(material_id)
    for_all = material_id == key.pending_material_id and not key.is_replica  # its bytes may be in other Regions alone
    if material is None or not (material.record.present or for_all):
        return Change(response, [call.keep(authorized)])
    return Change(response, removal(call.snapshot, entry, material_id, call.now))


def logged_material(response: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows which material was imported or deleted."""
    assert isinstance(response, ImportKeyMaterialResponse | DeleteImportedKeyMaterialResponse)
    logged: dict[str, object] = {"keyId": response.key_id}
    if response.key_material_id is not None:
        logged["keyMaterialId"] = response.key_material_id
    return logged


def _check_origin(key: KmsKey) -> None:
    if key.origin != EXTERNAL:
        raise wrong_origin(key.arn, key.origin)


def _check_said_of(key: KmsKey, request: ImportKeyMaterialRequest) -> None:
    for name, member in _OF_SYMMETRIC_KEYS.items():
        if key.key_spec != SYMMETRIC_DEFAULT and getattr(request, name) is not None:
            raise Validation(f"{member} can only be specified for symmetric encryption KMS keys.")
    if key.is_replica and (request.import_type == _NEW or request.key_material_description is not None):
        raise not_primary(key)


def _check_valid_to(valid_to: float | None, now: float) -> None:
    if valid_to is not None and not now < valid_to <= now + _LONGEST_VALIDITY:
        raise Validation("The validTo date must be in the future, and not more than 365 days from now.")


def _import_key(call: Call, key: KmsKey, token: bytes) -> ImportKey:
    """What a token holds. Raises InvalidImportToken, ExpiredImportToken."""
    parameters = call.seals.import_tokens.open(token)
    if (parameters.account, parameters.region, parameters.key_id) != (key.account, key.region, key.key_id):
        raise InvalidImportToken
    if parameters.valid_to <= call.now:
        raise ExpiredImportToken
    return parameters.import_key


def _exists(entry: KeyEntry, request: ImportKeyMaterialRequest, imported: KeyMaterial) -> bool:
    """Whether the material is one that the key has had. Raises IncorrectKeyMaterial if it was said or must be so.

    Only a symmetric encryption key can be given other material than the first.
    """
    first = not entry.key.current_material_id
    known = imported.material_id in entry.materials
    said = request.import_type or (_NEW if first and request.key_material_id is None else _EXISTING)
    if known != (said == _EXISTING) or request.key_material_id not in (None, imported.material_id):
        raise IncorrectKeyMaterial
    return known


def _as_existing(snapshot: Snapshot, entry: KeyEntry, imported: KeyMaterial) -> list[Write]:
    """Material that the key has had: what is said of it anew replaces what was. A description is for all Regions."""
    before, number = entry.materials[imported.material_id]
    described = [] if imported.description is None else _described(snapshot, entry, imported)
    imported = structs.replace(
        imported,
        created=before.created,
        uses=before.uses,
        rotated=before.rotated,
        rotation_type=before.rotation_type,
        description=before.description if imported.description is None else imported.description,
    )
    return [Replace(imported, number), _usable_again(entry, imported), *described]


def _described(snapshot: Snapshot, entry: KeyEntry, imported: KeyMaterial) -> list[Write]:
    writes: list[Write] = []
    for other in others(snapshot, entry.key):
        material, number = other.materials[imported.material_id]
        writes.append(Replace(structs.replace(material, description=imported.description), number))
        writes.append(Replace(other.key, other.number))
    return writes


def _as_new(snapshot: Snapshot, entry: KeyEntry, imported: KeyMaterial) -> list[Write]:
    """Material that the key never had: its first, or one for its next rotation on demand. Raises KMSInvalidState.

    The first one comes before any replica; replica keys get another one's record, to be imported for each.
    """
    key = entry.key
    if not key.current_material_id:
        return [Insert(imported), _usable_again(entry, imported, current_material_id=imported.material_id)]
    if key.pending_material_id is not None:
        raise KMSInvalidState(
            f"New key material (id: {imported.material_id}) cannot be imported into KMS key {key.arn}, because another "
            f"key material (id: {key.pending_material_id}) is pending rotation."
        )
    copies = [Insert(copied(imported, other.key)) for other in others(snapshot, key)]
    return [Insert(imported), *copies, *replaced(snapshot, key, pending_material_id=imported.material_id)]


def _usable_again(entry: KeyEntry, imported: KeyMaterial, **members: object) -> Write:
    """The key, which can be used if nothing else is missing."""
    key = structs.replace(entry.key, **members)
    others = [material for material in associated(entry) if material.material_id != imported.material_id]
    if key.state == PENDING_IMPORT and complete([*others, imported]):
        key = structs.replace(key, state=ENABLED)
    return Replace(key, entry.number)
