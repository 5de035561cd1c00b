"""The XKS proxy API: what external key stores are asked (XKS specification 1.0.3, "External key store proxy APIs").

Bytes are base64 of the standard alphabet, with padding. Members that nobody knows are passed over.
"""

from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from strongroom.errors import Validation

AES_GCM = "AES_GCM"
SHA_256 = "SHA_256"
BASE = "/kms/xks/v1"
"""What follows the prefix of a key store in its URIs."""

_Text = Annotated[str, Meta(min_length=1, max_length=2048)]


class RequestMetadata(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who asks KMS for what. Values that nobody knows are taken as they are."""

    kms_request_id: _Text
    kms_operation: _Text
    aws_principal_arn: _Text | UnsetType = UNSET
    kms_key_arn: _Text | UnsetType = UNSET
    aws_source_vpc: _Text | UnsetType = UNSET
    aws_source_vpce: _Text | UnsetType = UNSET
    kms_via_service: _Text | UnsetType = UNSET


class HealthRequest(Struct, frozen=True, rename="camel"):
    """GetHealthStatus."""

    request_metadata: RequestMetadata


class MetadataRequest(Struct, frozen=True, rename="camel"):
    """GetKeyMetadata."""

    request_metadata: RequestMetadata


class EncryptRequest(Struct, frozen=True, rename="camel"):
    """Encrypt."""

    request_metadata: RequestMetadata
    plaintext: bytes
    encryption_algorithm: Literal["AES_GCM"]
    additional_authenticated_data: bytes = b""
    ciphertext_data_integrity_value_algorithm: Literal["SHA_256"] | None = None

    def __repr__(self) -> str:
        return "EncryptRequest()"


class DecryptRequest(Struct, frozen=True, rename="camel"):
    """Decrypt."""

    request_metadata: RequestMetadata
    ciphertext: bytes
    encryption_algorithm: Literal["AES_GCM"]
    initialization_vector: bytes
    authentication_tag: Annotated[bytes, Meta(min_length=16, max_length=16)]
    additional_authenticated_data: bytes = b""
    ciphertext_metadata: Annotated[bytes, Meta(max_length=20)] = b""

    def __repr__(self) -> str:
        return "DecryptRequest()"


class Manager(Struct, frozen=True, rename="camel"):
    """An external key manager behind the proxy."""

    id: str
    model: str
    health_status: Literal["ACTIVE", "DEGRADED", "UNAVAILABLE"]


class HealthResponse(Struct, frozen=True, rename="camel"):
    """The answer of GetHealthStatus."""

    xks_proxy_fleet_size: int
    xks_proxy_vendor: str
    xks_proxy_model: str
    ekm_vendor: str
    ekm_fleet_details: tuple[Manager, ...]


class MetadataResponse(Struct, frozen=True, rename="camel"):
    """The answer of GetKeyMetadata."""

    key_spec: str
    key_usage: tuple[str, ...]
    key_status: Literal["ENABLED", "DISABLED"]


class EncryptResponse(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer of Encrypt."""

    authentication_tag: bytes
    ciphertext: bytes
    initialization_vector: bytes
    ciphertext_metadata: bytes = b""
    ciphertext_data_integrity_value: bytes | None = None

    def __repr__(self) -> str:
        return "EncryptResponse()"


class DecryptResponse(Struct, frozen=True, rename="camel"):
    """The answer of Decrypt."""

    plaintext: bytes

    def __repr__(self) -> str:
        return "DecryptResponse()"


def integrity_value(aad: bytes, metadata: bytes, iv: bytes, ciphertext: bytes, tag: bytes) -> bytes:
    """`ciphertextDataIntegrityValue`: a SHA-256, by which KMS finds what was altered on its way."""
    return sha256(b"".join((aad, metadata, iv, ciphertext, tag))).digest()


Body = HealthRequest | MetadataRequest | EncryptRequest | DecryptRequest


class XksRequest(Struct, frozen=True):
    """A request with what its path says: the prefix of the key store, and the external key, empty for its health."""

    prefix: str
    external_key_id: str
    body: Body


class Route(Struct, frozen=True):
    """What a path means: an operation of a key store, on a key of it."""

    prefix: str
    operation: str
    external_key_id: str


BODIES: Final[dict[str, type[Body]]] = {
    "Decrypt": DecryptRequest,
    "Encrypt": EncryptRequest,
    "GetHealthStatus": HealthRequest,
    "GetKeyMetadata": MetadataRequest,
}
"""Operation -> its request."""

_OF_KEY = {"decrypt": "Decrypt", "encrypt": "Encrypt", "metadata": "GetKeyMetadata"}
_NEEDED = {
    "Decrypt": ("aws_principal_arn", "kms_key_arn"),
    "Encrypt": ("aws_principal_arn", "kms_key_arn"),
    "GetHealthStatus": (),
    "GetKeyMetadata": ("aws_principal_arn",),
}
_IV_LENGTHS = (12, 16)
_LONGEST_ID = 128


def route(path: str) -> Route | None:
    """What a path means; None if it is none of the API's. The prefix need not be served."""
    prefix, base, rest = path.rpartition(BASE)
    if not base:
        return None
    match rest.split("/"):
        case ["", "health"]:
            return Route(prefix, "GetHealthStatus", "")
        case ["", "keys", key, name] if name in _OF_KEY and 0 < len(key) <= _LONGEST_ID:
            return Route(prefix, _OF_KEY[name], key)
    return None


def decode(where: Route, body: bytes) -> XksRequest:
    """Read a request. Raises Validation if it is not as the API says."""
    try:
        read: Any = msgspec.json.decode(body, type=BODIES[where.operation])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        read = None
    if read is None:  # outside of the handler: the error carries what was sent
        raise Validation("The request body is not as the API specifies.")
    metadata = structs.asdict(read.request_metadata)
    missing = [name for name in _NEEDED[where.operation] if metadata[name] is UNSET]
    if missing:
        raise Validation(f"requestMetadata lacks {missing[0]}.")
    if isinstance(read, DecryptRequest) and len(read.initialization_vector) not in _IV_LENGTHS:
        raise Validation("initializationVector has neither 12 nor 16 bytes.")
    return XksRequest(where.prefix, where.external_key_id, read)
