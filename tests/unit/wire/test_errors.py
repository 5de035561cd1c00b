"""The table of refusals, against the tree of errors."""

from collections.abc import Iterator

import pytest

from strongroom import errors
from strongroom.wire.errors import RENDERINGS, rendering


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
    assert len({kind.code for kind in EVERY}) == len(EVERY)
    assert set(RENDERINGS) <= set(EVERY)
