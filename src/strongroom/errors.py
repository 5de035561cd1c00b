"""What can go wrong, as one plain tree. No HTTP in it.

StrongroomError
├── OperatorError            something is wrong with the installation; for the person who runs it
│   ├── ConfigurationError   the configuration file or a command-line value
│   ├── ConnectionFailedError  a custom key store cannot be connected
│   ├── DataDirectoryError   files missing, unreadable, or with permissions that are too wide
│   ├── HsmError             the token, its keys or its PIN are not there or not what they must be
│   ├── RootKeyError         the root key is missing, malformed, or belongs to another installation
│   ├── IntegrityError       a stored row, the change feed or the audit log was altered
│   ├── RollbackError        the database is older than what the log or this process has seen, or another one
│   └── StorageError         the database cannot be read or written (damaged, full, locked)
├── ConflictError            a concurrent change won; decide again on fresh state (never leaves the pipeline)
└── RequestError             what a caller is told; `code` is AWS's error code in KMS, the class is the code without
                             "Exception"; `message` is AWS's text, or None where AWS has none
    ├── (front end)          MissingAuthenticationToken … UnknownOperation, Serialization, Validation
    ├── (refusals)           AccessDenied, NotFound, Disabled, KMSInvalidState …
    └── (our fault)          KMSInternal, DependencyTimeout, KeyUnavailable
"""

from collections.abc import Mapping
from typing import ClassVar, Final


class StrongroomError(Exception):
    """Every error raised on purpose by Strongroom."""


class OperatorError(StrongroomError):
    """Something is wrong with the installation. The message is one line for the person who runs it."""


class ConfigurationError(OperatorError):
    """The configuration file or a command-line value cannot be used."""


class DataDirectoryError(OperatorError):
    """The data directory or a file in it is missing, unreadable or open to others."""


class HsmError(OperatorError):
    """The hardware security module cannot be used: its token, keys or PIN are missing or not as they must be."""


class ConnectionFailedError(OperatorError):
    """A custom key store cannot be connected. `code` is AWS's ConnectionErrorCode."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class RootKeyError(OperatorError):
    """The root key is missing, malformed, or belongs to another installation."""


class IntegrityError(OperatorError):
    """Stored state or the audit log was altered outside Strongroom. The message names what."""


class RollbackError(OperatorError):
    """The database is older than, or another one than, what the audit log or this process has already seen."""


class StorageError(OperatorError):
    """The database cannot be read or written: damaged, full or locked."""


class DatabaseAwayError(StorageError):
    """The database server cannot be reached, or does not answer: it may come back."""


class ConflictError(StrongroomError):
    """A row that a change was decided on has changed since. Decide again on fresh state."""


class RequestError(StrongroomError):
    """A request that failed, as the caller is told.

    `code` is the AWS error code, as KMS spells it (`code_of`: as each service does). `message` is AWS's text; None
    where AWS sends none.
    """

    code: ClassVar[str] = "InternalFailure"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.message = message


# The front end: before an operation is known to be asked by somebody we know.


class MissingAuthenticationToken(RequestError):
    """The request carries no signature."""

    code = "MissingAuthenticationTokenException"


class IncompleteSignature(RequestError):
    """The Authorization header does not have the form that Signature Version 4 requires."""

    code = "IncompleteSignatureException"


class InvalidSignature(RequestError):
    """The signature is wrong, expired, not yet current, or scoped to something else."""

    code = "InvalidSignatureException"


class UnrecognizedClient(RequestError):
    """The access key or session token is not known."""

    code = "UnrecognizedClientException"


class UnknownOperation(RequestError):
    """No such operation, or none could be read from the request."""

    code = "UnknownOperationException"


class Serialization(RequestError):
    """The body is not JSON, or a member has another type than the model gives it."""

    code = "SerializationException"


class Validation(RequestError):
    """A member violates a constraint of the model or of the operation."""

    code = "ValidationException"


class Throttling(RequestError):
    """More is asked at once than there is time for. Clients wait and ask again."""

    code = "ThrottlingException"


class RequestEntityTooLarge(RequestError):
    """The body is larger than any operation takes."""

    code = "RequestEntityTooLargeException"


# Refusals by the service.


class AccessDenied(RequestError):
    """The caller may not do this, or the resource is not theirs to know of.

    `decision` says why, for the audit record; it is None where the caller's account is not to know.
    """

    code = "AccessDeniedException"

    def __init__(self, message: str, decision: object | None = None) -> None:
        super().__init__(message)
        self.decision = decision


class AlreadyExists(RequestError):
    """The resource is there already."""

    code = "AlreadyExistsException"


class CloudHsmClusterInUse(RequestError):
    """The cluster, or one with the same certificate, is another custom key store's."""

    code = "CloudHsmClusterInUseException"


class CloudHsmClusterInvalidConfiguration(RequestError):
    """The cluster has fewer HSMs than the operation needs."""

    code = "CloudHsmClusterInvalidConfigurationException"


class CloudHsmClusterNotActive(RequestError):
    """The cluster does not answer."""

    code = "CloudHsmClusterNotActiveException"


class CloudHsmClusterNotFound(RequestError):
    """No such cluster."""

    code = "CloudHsmClusterNotFoundException"


class CloudHsmClusterNotRelated(RequestError):
    """The cluster has another certificate than the one that the custom key store had."""

    code = "CloudHsmClusterNotRelatedException"


class Conflict(RequestError):
    """A rotation of the KMS key is in progress, or about to begin."""

    code = "ConflictException"


class CustomKeyStoreHasCMKs(RequestError):
    """The custom key store has KMS keys."""

    code = "CustomKeyStoreHasCMKsException"


class CustomKeyStoreInvalidState(RequestError):
    """The connection state of the custom key store does not allow the operation."""

    code = "CustomKeyStoreInvalidStateException"


class CustomKeyStoreNameInUse(RequestError):
    """The name is another custom key store's."""

    code = "CustomKeyStoreNameInUseException"


class CustomKeyStoreNotFound(RequestError):
    """No such custom key store."""

    code = "CustomKeyStoreNotFoundException"


class Disabled(RequestError):
    """The KMS key is disabled."""

    code = "DisabledException"


class DryRunOperation(RequestError):
    """The request would have succeeded, but it was a dry run."""

    code = "DryRunOperationException"


class ExpiredImportToken(RequestError):
    """An import token is older than 24 hours."""

    code = "ExpiredImportTokenException"


class IncorrectKey(RequestError):
    """The ciphertext was made under another KMS key than the request names."""

    code = "IncorrectKeyException"


class IncorrectKeyMaterial(RequestError):
    """Key material to import is not what the KMS key takes, or not the same as was imported before."""

    code = "IncorrectKeyMaterialException"


class IncorrectTrustAnchor(RequestError):
    """The certificate is not the cluster's."""

    code = "IncorrectTrustAnchorException"


class InvalidAliasName(RequestError):
    """The name of an alias has characters that an alias cannot have."""

    code = "InvalidAliasNameException"


class InvalidArn(RequestError):
    """The ARN is not one that this operation takes."""

    code = "InvalidArnException"


class InvalidCiphertext(RequestError):
    """The ciphertext is corrupt, or its encryption context is another one."""

    code = "InvalidCiphertextException"


class InvalidGrantId(RequestError):
    """The id of a grant does not have the form of one."""

    code = "InvalidGrantIdException"


class InvalidGrantToken(RequestError):
    """A grant token is not one that was given out here."""

    code = "InvalidGrantTokenException"


class InvalidImportToken(RequestError):
    """An import token was not given out here, or is for another KMS key."""

    code = "InvalidImportTokenException"


class InvalidUriPath(RequestError):
    """The XKS proxy serves nothing at this path."""

    code = "InvalidUriPathException"


class InvalidKeyUsage(RequestError):
    """The KMS key is of another usage, or the algorithm does not fit its spec."""

    code = "InvalidKeyUsageException"


class InvalidMarker(RequestError):
    """A pagination marker was not given out by this operation."""

    code = "InvalidMarkerException"


class KMSInvalidMac(RequestError):
    """The MAC is not the message's under this key."""

    code = "KMSInvalidMacException"


class KMSInvalidSignature(RequestError):
    """The signature is not the message's under this key."""

    code = "KMSInvalidSignatureException"


class KMSInvalidState(RequestError):
    """The state of the KMS key does not allow the operation."""

    code = "KMSInvalidStateException"


class LimitExceeded(RequestError):
    """A quota is used up."""

    code = "LimitExceededException"


class MalformedPolicyDocument(RequestError):
    """A policy is not syntactically or semantically correct."""

    code = "MalformedPolicyDocumentException"


class NotAuthorized(RequestError):
    """What the caller names is reserved for AWS itself."""

    code = "NotAuthorizedException"


class NotFound(RequestError):
    """The key, alias or other resource does not exist."""

    code = "NotFoundException"


class TagError(RequestError):
    """One or more tags are not valid."""

    code = "TagException"


class UnsupportedOperation(RequestError):
    """The operation, or this use of it, is not supported."""

    code = "UnsupportedOperationException"


class XksKeyAlreadyInUse(RequestError):
    """The external key is another KMS key's in the external key store."""

    code = "XksKeyAlreadyInUseException"


class XksKeyInvalidConfiguration(RequestError):
    """The external key is not AES-256, not enabled, or does not encrypt and decrypt."""

    code = "XksKeyInvalidConfigurationException"


class XksKeyNotFound(RequestError):
    """The external key store proxy knows no such external key."""

    code = "XksKeyNotFoundException"


class XksProxyIncorrectAuthenticationCredential(RequestError):
    """The external key store proxy refused the credential."""

    code = "XksProxyIncorrectAuthenticationCredentialException"


class XksProxyInvalidConfiguration(RequestError):
    """The external key store proxy is not configured correctly."""

    code = "XksProxyInvalidConfigurationException"


class XksProxyInvalidResponse(RequestError):
    """What the external key store proxy answered cannot be understood."""

    code = "XksProxyInvalidResponseException"


class XksProxyUriEndpointInUse(RequestError):
    """The endpoint is another external key store's."""

    code = "XksProxyUriEndpointInUseException"


class XksProxyUriInUse(RequestError):
    """The endpoint and the path together are another external key store's."""

    code = "XksProxyUriInUseException"


class XksProxyUriUnreachable(RequestError):
    """The external key store proxy, or every key manager behind it, cannot be reached."""

    code = "XksProxyUriUnreachableException"


class XksProxyVpcEndpointServiceInUse(RequestError):
    """The VPC endpoint service is another external key store's."""

    code = "XksProxyVpcEndpointServiceInUseException"


class XksProxyVpcEndpointServiceInvalidConfiguration(RequestError):
    """The VPC endpoint service is not that of the endpoint."""

    code = "XksProxyVpcEndpointServiceInvalidConfigurationException"


class XksProxyVpcEndpointServiceNotFound(RequestError):
    """No such VPC endpoint service."""

    code = "XksProxyVpcEndpointServiceNotFoundException"


# Our own failures.


class DependencyTimeout(RequestError):
    """Something the service depends on did not answer in time. The request can be retried."""

    code = "DependencyTimeoutException"


class KMSInternal(RequestError):
    """An internal failure. The request can be retried."""

    code = "KMSInternalException"


class KeyUnavailable(RequestError):
    """The key material cannot be used now. The request can be retried."""

    code = "KeyUnavailableException"


# CloudTrail.


class InvalidEventCategory(RequestError):
    """There are no events of this category."""

    code = "InvalidEventCategoryException"


class InvalidLookupAttributes(RequestError):
    """Events cannot be looked up by this."""

    code = "InvalidLookupAttributesException"


class InvalidMaxResults(RequestError):
    """Fewer than one or more than fifty events are asked for."""

    code = "InvalidMaxResultsException"


class InvalidNextToken(RequestError):
    """The token is none of ours, or one of a request with other parameters."""

    code = "InvalidNextTokenException"


class InvalidTimeRange(RequestError):
    """The time range ends before it begins, or has a time of no calendar."""

    code = "InvalidTimeRangeException"


# IAM and STS.


class NoSuchEntity(RequestError):
    """There is no user, group, role, policy or provider of this name."""

    code = "NoSuchEntity"


class EntityAlreadyExists(RequestError):
    """The name is taken."""

    code = "EntityAlreadyExists"


class DeleteConflict(RequestError):
    """Something still belongs to what is to be deleted."""

    code = "DeleteConflict"


class InvalidInput(RequestError):
    """A value cannot be what it is given for."""

    code = "InvalidInput"


class ExpiredToken(RequestError):
    """The session that the caller signed with has come to its end."""

    code = "ExpiredTokenException"


class ExpiredIdentityToken(RequestError):
    """The token of an identity provider has come to its end."""

    code = "ExpiredTokenException"


class ConcurrentModification(RequestError):
    """Others were changing the same at the same time."""

    code = "ConcurrentModification"


class EntityTemporarilyUnmodifiable(RequestError):
    """The user or role cannot be changed just now. The request can be retried."""

    code = "EntityTemporarilyUnmodifiable"


class IDPCommunicationError(RequestError):
    """The identity provider could not be asked. The request can be retried."""

    code = "IDPCommunicationError"


class IDPRejectedClaim(RequestError):
    """The identity provider's token is not one that the role trusts, or was made invalid."""

    code = "IDPRejectedClaim"


class InvalidIdentityToken(RequestError):
    """The token is not one that an identity provider known here has signed."""

    code = "InvalidIdentityToken"


class PackedPolicyTooLarge(RequestError):
    """The policies and tags of a session are too large together."""

    code = "PackedPolicyTooLarge"


class PolicyEvaluation(RequestError):
    """A policy that was given could not be evaluated."""

    code = "PolicyEvaluation"


class PolicyNotAttachable(RequestError):
    """The managed policy is reserved for AWS itself."""

    code = "PolicyNotAttachable"


class RegionDisabled(RequestError):
    """Sessions are not given out in this Region."""

    code = "RegionDisabledException"


class UnmodifiableEntity(RequestError):
    """Only the service that owns the role may change it."""

    code = "UnmodifiableEntity"


QUERY_CODES: Final[Mapping[type[RequestError], str]] = {
    AccessDenied: "AccessDenied",
    ExpiredToken: "ExpiredToken",
    IncompleteSignature: "IncompleteSignature",
    InvalidMarker: "ValidationError",
    InvalidSignature: "SignatureDoesNotMatch",
    KMSInternal: "InternalFailure",
    LimitExceeded: "LimitExceeded",
    MalformedPolicyDocument: "MalformedPolicyDocument",
    MissingAuthenticationToken: "MissingAuthenticationToken",
    RequestEntityTooLarge: "RequestEntityTooLarge",
    Serialization: "MalformedInput",
    UnknownOperation: "InvalidAction",
    UnrecognizedClient: "InvalidClientTokenId",
    UnsupportedOperation: "NotImplemented",
    Validation: "ValidationError",
}
"""What services of the Query protocol call the errors that KMS calls by `code`.

Sources: botocore's models of IAM and STS, "Common errors" of their API references, and what they are seen to answer.
"""


CLOUDTRAIL_CODES: Final[Mapping[type[RequestError], str]] = {KMSInternal: "InternalFailure"}
"""What CloudTrail calls the errors that KMS calls by `code`, if not the same ("Common errors" of its API reference)."""

XKS_NAMES: Final[Mapping[type[RequestError], str]] = {
    AccessDenied: "AccessDeniedException",
    DependencyTimeout: "DependencyTimeoutException",
    Disabled: "InvalidStateException",
    IncompleteSignature: "AuthenticationFailedException",
    InvalidCiphertext: "InvalidCiphertextException",
    InvalidKeyUsage: "InvalidKeyUsageException",
    InvalidSignature: "AuthenticationFailedException",
    InvalidUriPath: "InvalidUriPathException",
    KeyUnavailable: "InvalidStateException",
    KMSInvalidState: "InvalidStateException",
    LimitExceeded: "InvalidStateException",
    MissingAuthenticationToken: "AuthenticationFailedException",
    NotFound: "KeyNotFoundException",
    RequestEntityTooLarge: "UnsupportedOperationException",
    Serialization: "ValidationException",
    Throttling: "ThrottlingException",
    UnrecognizedClient: "AuthenticationFailedException",
    UnsupportedOperation: "UnsupportedOperationException",
    Validation: "ValidationException",
}
"""What the XKS proxy calls errors (XKS specification, "Error codes"); all others are InternalException."""
XKS_PROXY = "kms-xks-proxy"
"""The service that the XKS proxy is, as signatures name it."""


def code_of(error: RequestError, service: str | None) -> str:
    """Return the code that the callers of a service are told. The service is None if a form names none of ours."""
    if service == XKS_PROXY:
        return XKS_NAMES.get(type(error), "InternalException")
    if service == "cloudtrail":
        return CLOUDTRAIL_CODES.get(type(error), error.code)
    return error.code if service == "kms" else QUERY_CODES.get(type(error), error.code)
