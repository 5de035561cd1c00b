"""What errors are called, by service."""

from collections.abc import Iterator

import pytest

from strongroom import errors
from strongroom.errors import QUERY_CODES, RequestError, code_of


def family(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


@pytest.mark.parametrize("kind", list(family(RequestError)))
def test_kms_calls_errors_by_their_codes(kind: type[RequestError]) -> None:
    assert code_of(kind("text"), "kms") == kind.code


@pytest.mark.parametrize("service", ["iam", "sts", None])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AccessDenied("no"), "AccessDenied"),
        (errors.UnrecognizedClient(), "InvalidClientTokenId"),
        (errors.InvalidSignature(), "SignatureDoesNotMatch"),
        (errors.ExpiredToken(), "ExpiredToken"),
        (errors.ExpiredIdentityToken(), "ExpiredTokenException"),
        (errors.Validation(), "ValidationError"),
        (errors.Serialization(), "MalformedInput"),
        (errors.KMSInternal(), "InternalFailure"),
        (errors.UnknownOperation(), "InvalidAction"),
        (errors.NoSuchEntity(), "NoSuchEntity"),
    ],
)
def test_other_services_have_names_of_their_own(error: RequestError, code: str, service: str | None) -> None:
    assert code_of(error, service) == code


def test_other_services_end_no_name_with_exception() -> None:
    assert not [code for code in QUERY_CODES.values() if code.endswith("Exception")]
