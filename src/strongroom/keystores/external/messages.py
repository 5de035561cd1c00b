"""What a proxy is asked and what it answers (XKS specification, "External key store proxy APIs").

Bytes are base64 of the standard alphabet, with padding. Members of an answer that nobody knows are passed over.
"""

from hmac import compare_digest
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.messages.xks import AES_GCM, SHA_256, Manager, integrity_value
from strongroom.model.custom_key_store import KeyStoreUse

TAG_LENGTH = 16
MAX_METADATA_LENGTH = 20
IV_LENGTHS = frozenset({12, 16})
"""Bytes."""


class RequestMetadata(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who asks KMS for what. Each API has some of it."""

    kms_request_id: str
    kms_operation: str
    aws_principal_arn: str | None = None
    kms_key_arn: str | None = None
    kms_via_service: str | None = None


def metadata_of_key_request(use: KeyStoreUse) -> RequestMetadata:
    """What goes with GetKeyMetadata: there is no KMS key yet."""
    return RequestMetadata(use.request_id, use.operation, use.principal_arn)


def metadata_of_use(use: KeyStoreUse) -> RequestMetadata:
    """What goes with Encrypt and Decrypt."""
    return RequestMetadata(use.request_id, use.operation, use.principal_arn, use.key_arn, use.via_service)


class MetadataRequest(Struct, frozen=True, rename="camel"):
    """The request of GetHealthStatus and of GetKeyMetadata."""

    request_metadata: RequestMetadata


class EncryptRequest(Struct, frozen=True, rename="camel"):
    """The request of Encrypt."""

    request_metadata: RequestMetadata
    plaintext: bytes
    additional_authenticated_data: bytes
    encryption_algorithm: str = AES_GCM
    ciphertext_data_integrity_value_algorithm: str = SHA_256


class DecryptRequest(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The request of Decrypt. Without metadata of the ciphertext, their member is left out."""

    request_metadata: RequestMetadata
    ciphertext: bytes
    initialization_vector: bytes
    authentication_tag: bytes
    additional_authenticated_data: bytes
    encryption_algorithm: str
    ciphertext_metadata: bytes = b""


class Health(Struct, frozen=True, rename="camel"):
    """The answer of GetHealthStatus."""

    xks_proxy_fleet_size: Annotated[int, Meta(gt=0)]
    xks_proxy_vendor: str
    xks_proxy_model: str
    ekm_vendor: str
    ekm_fleet_details: Annotated[tuple[Manager, ...], Meta(min_length=1, max_length=10)]

    def judge(self) -> None:
        """Raise ProxyError if no external key manager serves."""
        if all(manager.health_status == "UNAVAILABLE" for manager in self.ekm_fleet_details):
            raise ProxyError(Kind.ALL_UNAVAILABLE)


_Word = Annotated[str, Meta(max_length=100, pattern=r"\A[ -~]*\Z")]
"""What callers may be shown."""


class KeyMetadata(Struct, frozen=True, rename="camel"):
    """The answer of GetKeyMetadata."""

    key_spec: _Word
    key_usage: Annotated[tuple[_Word, ...], Meta(max_length=10)]
    key_status: Literal["ENABLED", "DISABLED"]


class Encrypted(Struct, frozen=True, rename="camel"):
    """The answer of Encrypt, without what proves its integrity: all that Decrypt needs, beside the associated data."""

    ciphertext: bytes
    initialization_vector: bytes
    authentication_tag: Annotated[bytes, Meta(min_length=TAG_LENGTH, max_length=TAG_LENGTH)]
    ciphertext_metadata: Annotated[bytes, Meta(max_length=MAX_METADATA_LENGTH)] = b""


class EncryptResponse(Encrypted, frozen=True, rename="camel", kw_only=True):
    """The answer of Encrypt."""

    ciphertext_data_integrity_value: bytes

    def check(self, plaintext: bytes, associated_data: bytes) -> None:
        """Raise ProxyError unless it can be the encryption of a plaintext, and came as it was sent."""
        if (
            len(self.ciphertext) != len(plaintext)
            or len(self.initialization_vector) not in IV_LENGTHS
            or not compare_digest(self._integrity_value(associated_data), self.ciphertext_data_integrity_value)
        ):
            raise ProxyError(Kind.INVALID_RESPONSE)

    def _integrity_value(self, associated_data: bytes) -> bytes:
        iv, tag = self.initialization_vector, self.authentication_tag
        return integrity_value(associated_data, self.ciphertext_metadata, iv, self.ciphertext, tag)


class DecryptResponse(Struct, frozen=True, rename="camel"):
    """The answer of Decrypt."""

    plaintext: bytes

    def check(self, ciphertext: bytes) -> None:
        """Raise ProxyError unless it can be the decryption of a ciphertext."""
        if len(self.plaintext) != len(ciphertext):
            raise ProxyError(Kind.INVALID_RESPONSE)


class ErrorResponse(Struct, frozen=True, rename="camel"):
    """The answer to what failed. Its `errorMessage` is for nobody here."""

    error_name: str


Answer = TypeVar("Answer", Health, KeyMetadata, EncryptResponse, DecryptResponse, ErrorResponse)


def read_answer(body: bytes, answer: type[Answer]) -> Answer:
    """Read the body of a response. Raises ProxyError if it is not JSON, or not of the right shape."""
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProxyError(Kind.INVALID_RESPONSE) from None
