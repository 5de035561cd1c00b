"""What can go wrong with an external key store proxy, and what callers of KMS are told: one table.

Sources: "Errors" and "KMS considerations" of the XKS specification, "Troubleshooting external key stores" in the KMS
Developer Guide. What the proxy writes beside the name of its error is shown to nobody.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.errors import (
    CustomKeyStoreInvalidState,
    KMSInvalidState,
    RequestError,
    StrongroomError,
    UnsupportedOperation,
    XksKeyInvalidConfiguration,
    XksKeyNotFound,
    XksProxyIncorrectAuthenticationCredential,
    XksProxyInvalidConfiguration,
    XksProxyInvalidResponse,
    XksProxyUriUnreachable,
)


class Kind(StrEnum):
    """How a call of a proxy failed: in one of our own ways, or by the name that the proxy gives its error."""

    UNREACHABLE = "unreachable"
    """Its name, its address or the connection."""
    TLS = "TLS"
    TIMED_OUT = "timed out"
    INVALID_RESPONSE = "invalid response"
    ALL_UNAVAILABLE = "all key managers unavailable"
    """It answers, but no external key manager behind it does."""

    ACCESS_DENIED = "AccessDeniedException"
    AUTHENTICATION_FAILED = "AuthenticationFailedException"
    DEPENDENCY_TIMEOUT = "DependencyTimeoutException"
    INTERNAL = "InternalException"
    INVALID_CIPHERTEXT = "InvalidCiphertextException"
    INVALID_KEY_USAGE = "InvalidKeyUsageException"
    INVALID_STATE = "InvalidStateException"
    INVALID_URI_PATH = "InvalidUriPathException"
    KEY_NOT_FOUND = "KeyNotFoundException"
    THROTTLING = "ThrottlingException"
    UNSUPPORTED_OPERATION = "UnsupportedOperationException"
    VALIDATION = "ValidationException"


COMMUNICATION: Final = frozenset({Kind.UNREACHABLE, Kind.TLS, Kind.TIMED_OUT})
"""Failures in which there was no answer."""
OF_CALLERS: Final = frozenset(
    {Kind.ACCESS_DENIED, Kind.INVALID_CIPHERTEXT, Kind.INVALID_KEY_USAGE, Kind.INVALID_STATE, Kind.KEY_NOT_FOUND}
)
"""Failures that say nothing of the proxy: of what was asked, or of the external key."""
NAMED: Final[Mapping[str, Kind]] = {str(kind): kind for kind in Kind if kind.endswith("Exception")}
"""The names of errors that a proxy may answer with."""


class Telling(NamedTuple):
    """What is told of a failure.

    `text` is that of all exceptions; cryptographic operations answer KMSInvalidState. `create_key` is the exception of
    CreateKey, `configure` that of CreateCustomKeyStore and UpdateCustomKeyStore, `code` the ConnectionErrorCode after
    ConnectCustomKeyStore.
    """

    text: str
    create_key: type[RequestError]
    configure: type[RequestError]
    code: str


_REJECTED = "The external key store proxy rejected the request because"
_CANNOT_COMMUNICATE = (  # the plugin for Kubernetes looks for the first sentence, and for that of a timeout
    "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you "
    "see this error repeatedly, verify that the external key store proxy is active and that its endpoint is correct."
)
_AGAIN = (
    "Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."
)
_NOT_UNDERSTOOD = f"AWS KMS cannot interpret the response from the external key store proxy. {_AGAIN}"

_TABLE: Final[Mapping[Kind, Telling]] = {
    Kind.UNREACHABLE: Telling(
        _CANNOT_COMMUNICATE, CustomKeyStoreInvalidState, XksProxyUriUnreachable, "XKS_PROXY_NOT_REACHABLE"
    ),
    Kind.TLS: Telling(
        "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify its TLS configuration, "
        "including its certificate.",
        CustomKeyStoreInvalidState, XksProxyUriUnreachable, "XKS_PROXY_INVALID_TLS_CONFIGURATION",
    ),
    Kind.TIMED_OUT: Telling(
        f"AWS KMS rejected the request because the external key store proxy did not respond in time. {_AGAIN}",
        CustomKeyStoreInvalidState, XksProxyUriUnreachable, "XKS_PROXY_TIMED_OUT",
    ),
    Kind.INVALID_RESPONSE: Telling(
        _NOT_UNDERSTOOD, CustomKeyStoreInvalidState, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE"
    ),
    Kind.ALL_UNAVAILABLE: Telling(
        "The external key store proxy reports that every external key manager is unavailable. Verify that at least "
        "one of them is active.",
        CustomKeyStoreInvalidState, XksProxyUriUnreachable, "XKS_PROXY_NOT_REACHABLE",
    ),
    Kind.ACCESS_DENIED: Telling(
        "The external key store proxy denied access to the operation. Verify that the user and the external key are "
        "both authorized for this operation, and try the request again.",
        CustomKeyStoreInvalidState, XksProxyInvalidConfiguration, "XKS_PROXY_ACCESS_DENIED",
    ),
    Kind.AUTHENTICATION_FAILED: Telling(
        f"{_REJECTED} it could not authenticate AWS KMS. Verify the credentials for your external key store and "
        "update if necessary.",
        CustomKeyStoreInvalidState, XksProxyIncorrectAuthenticationCredential, "INVALID_CREDENTIALS",
    ),
    Kind.DEPENDENCY_TIMEOUT: Telling(
        f"The external key store proxy did not respond to the request in the time allotted. {_AGAIN}",
        CustomKeyStoreInvalidState, XksProxyUriUnreachable, "XKS_PROXY_TIMED_OUT",
    ),
    Kind.INTERNAL: Telling(
        f"The external key store proxy failed because of an internal error. {_AGAIN}",
        CustomKeyStoreInvalidState, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE",
    ),
    Kind.INVALID_CIPHERTEXT: Telling(
        f"{_REJECTED} the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise "
        "invalid.",
        CustomKeyStoreInvalidState, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE",
    ),
    Kind.INVALID_KEY_USAGE: Telling(
        f"{_REJECTED} the external key does not support the requested operation.",
        XksKeyInvalidConfiguration, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE",
    ),
    # To a health check: the key store is disabled or blocked at the proxy.
    Kind.INVALID_STATE: Telling(
        f"{_REJECTED} the external key is not enabled in the external key manager.",
        XksKeyInvalidConfiguration, XksProxyInvalidConfiguration, "XKS_PROXY_INVALID_CONFIGURATION",
    ),
    Kind.INVALID_URI_PATH: Telling(
        f"{_REJECTED} of an invalid URI path. Verify the URI path for your external key store and update if necessary.",
        CustomKeyStoreInvalidState, XksProxyInvalidConfiguration, "XKS_PROXY_INVALID_CONFIGURATION",
    ),
    Kind.KEY_NOT_FOUND: Telling(
        f"{_REJECTED} it could not find the external key.",
        XksKeyNotFound, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE",
    ),
    Kind.THROTTLING: Telling(
        "The external key store proxy rejected the request due to a very high request rate. Reduce the frequency of "
        "your calls using KMS keys in this external key store.",
        CustomKeyStoreInvalidState, XksProxyUriUnreachable, "XKS_PROXY_TIMED_OUT",
    ),
    Kind.UNSUPPORTED_OPERATION: Telling(
        f"{_REJECTED} it does not support the requested cryptographic operation.",
        UnsupportedOperation, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE",
    ),
    Kind.VALIDATION: Telling(
        _NOT_UNDERSTOOD, CustomKeyStoreInvalidState, XksProxyInvalidResponse, "XKS_PROXY_INVALID_RESPONSE"
    ),
}  # fmt: skip


class ProxyError(StrongroomError):
    """A call of an external key store proxy that failed. Callers of KMS are told one of what it makes."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(str(kind))
        self.kind = kind

    @property
    def connection_error_code(self) -> str:
        """The ConnectionErrorCode of a key store that could not be connected."""
        return _TABLE[self.kind].code

    def of_use(self) -> KMSInvalidState:
        """What cryptographic operations answer."""
        return KMSInvalidState(_TABLE[self.kind].text)

    def of_create_key(self) -> RequestError:
        """What CreateKey answers."""
        telling = _TABLE[self.kind]
        return telling.create_key(telling.text)

    def of_configuration(self) -> RequestError:
        """What CreateCustomKeyStore and UpdateCustomKeyStore answer."""
        telling = _TABLE[self.kind]
        return telling.configure(telling.text)
