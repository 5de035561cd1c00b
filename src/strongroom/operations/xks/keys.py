"""GetKeyMetadata, Encrypt and Decrypt of external keys."""

from collections.abc import Sequence

from strongroom.authorization.external_keys import AuthorizedExternalKey
from strongroom.messages.xks import (
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    MetadataResponse,
    XksRequest,
)
from strongroom.operations.call import Call
from strongroom.operations.targets import ExternalKeyTarget


def get_key_metadata_targets(_request: XksRequest) -> list[ExternalKeyTarget]:
    """The external key."""
    return [ExternalKeyTarget("GetKeyMetadata")]


def get_key_metadata(_call: Call, _request: XksRequest, keys: Sequence[AuthorizedExternalKey]) -> MetadataResponse:
    """XKS: GetKeyMetadata. All external keys are of one kind."""
    (authorized,) = keys
    return MetadataResponse("AES_256", ("ENCRYPT", "DECRYPT"), "ENABLED" if authorized.key.enabled else "DISABLED")


def encrypt_targets(_request: XksRequest) -> list[ExternalKeyTarget]:
    """The external key."""
    return [ExternalKeyTarget("Encrypt", enabled=True)]


def encrypt(call: Call, request: XksRequest, keys: Sequence[AuthorizedExternalKey]) -> EncryptResponse:
    """XKS: Encrypt. With an integrity value, if it is asked for. Raises UnsupportedOperation for too much."""
    (authorized,) = keys
    body = request.body
    assert isinstance(body, EncryptRequest), "the route says so"
    encrypted = call.external_keys.open(authorized.key).encrypt(
        body.plaintext,
        body.additional_authenticated_data,
        integrity=body.ciphertext_data_integrity_value_algorithm is not None,
    )
    return EncryptResponse(
        authentication_tag=encrypted.tag,
        ciphertext=encrypted.ciphertext,
        initialization_vector=encrypted.iv,
        ciphertext_metadata=encrypted.metadata,
        ciphertext_data_integrity_value=encrypted.integrity,
    )


def decrypt_targets(_request: XksRequest) -> list[ExternalKeyTarget]:
    """The external key."""
    return [ExternalKeyTarget("Decrypt", enabled=True)]


def decrypt(call: Call, request: XksRequest, keys: Sequence[AuthorizedExternalKey]) -> DecryptResponse:
    """XKS: Decrypt. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
    (authorized,) = keys
    body = request.body
    assert isinstance(body, DecryptRequest), "the route says so"
    plaintext = call.external_keys.open(authorized.key).decrypt(
        body.ciphertext,
        body.initialization_vector,
        body.authentication_tag,
        body.ciphertext_metadata,
        body.additional_authenticated_data,
    )
    return DecryptResponse(plaintext)
