"""The tables of refusals, against the tree of errors."""

from collections.abc import Iterator

import pytest
from botocore.loaders import Loader

from strongroom import errors
from strongroom.errors import code_of
from strongroom.wire.errors import QUERY_STATUSES, RENDERINGS, query_status, rendering


def family(kind: type[errors.RequestError]) -> Iterator[type[errors.RequestError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


EVERY = sorted(family(errors.RequestError), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_has_a_status_that_says_whose_fault_it_is(kind: type[errors.RequestError]) -> None:
    ours = {"InternalFailure", "DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException"}
    too_large = {"RequestEntityTooLargeException"}

    expected = 500 if kind.code in ours else 413 if kind.code in too_large else 400
    assert rendering(kind("text")).status == expected


@pytest.mark.parametrize("kind", EVERY)
def test_only_serialization_errors_spell_message_with_a_capital(kind: type[errors.RequestError]) -> None:
    expected = "Message" if kind.code == "SerializationException" else "message"
    assert rendering(kind("text")).text_member == expected


def test_codes_are_unique_and_the_table_names_real_errors() -> None:
    same = {errors.ExpiredToken, errors.ExpiredIdentityToken}  # told apart in the Query protocol only
    assert len({kind.code for kind in EVERY}) == len(EVERY) - len(same) + 1
    assert set(RENDERINGS) <= set(EVERY)
    assert set(QUERY_STATUSES) <= set(EVERY)


@pytest.mark.parametrize("service", ["iam", "sts"])
def test_query_services_answer_with_the_codes_and_statuses_of_their_models(service: str) -> None:
    shapes = Loader().load_service_model(service, "service-2")["shapes"].values()
    modeled = {shape["error"]["code"]: shape["error"] for shape in shapes if "error" in shape}
    told = {code_of(kind("text"), service): kind("text") for kind in EVERY}

    for code in modeled.keys() & told.keys():
        assert query_status(told[code]) == modeled[code]["httpStatusCode"], code
        assert (query_status(told[code]) < 500) == modeled[code].get("senderFault", False), code
    assert NEEDED[service] <= modeled.keys() & told.keys()


NEEDED = {
    "iam": {
        "ConcurrentModification",
        "DeleteConflict",
        "EntityAlreadyExists",
        "EntityTemporarilyUnmodifiable",
        "InvalidInput",
        "LimitExceeded",
        "MalformedPolicyDocument",
        "NoSuchEntity",
        "PolicyEvaluation",
        "PolicyNotAttachable",
        "UnmodifiableEntity",
    },
    "sts": {
        "ExpiredTokenException",
        "IDPCommunicationError",
        "IDPRejectedClaim",
        "InvalidIdentityToken",
        "MalformedPolicyDocument",
        "PackedPolicyTooLarge",
        "RegionDisabledException",
    },
}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.AccessDenied("no"), 403),
        (errors.UnrecognizedClient(), 403),
        (errors.InvalidSignature(), 403),
        (errors.MissingAuthenticationToken(), 403),
        (errors.ExpiredToken(), 403),
        (errors.IncompleteSignature(), 400),
        (errors.Validation(), 400),
        (errors.Serialization(), 400),
        (errors.UnknownOperation(), 400),
        (errors.RequestEntityTooLarge(), 413),
        (errors.RequestError(), 500),
        (errors.KMSInternal(), 500),
        (errors.UnsupportedOperation(), 501),
    ],
)
def test_query_services_tell_causes_apart_by_status(error: errors.RequestError, status: int) -> None:
    assert query_status(error) == status
