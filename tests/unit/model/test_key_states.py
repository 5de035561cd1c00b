import pytest

from strongroom.errors import Disabled, KMSInvalidState
from strongroom.model.key_states import KEY_STATES, refusal
from strongroom.operations.registry import OPERATIONS
from strongroom.operations.targets import KeyTarget

ARN = "arn:aws:kms:us-east-1:111122223333:key/x"
USES = ("Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")


@pytest.mark.parametrize("operation", USES)
@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        ("Disabled", Disabled, f"{ARN} is disabled."),
        ("PendingDeletion", KMSInvalidState, f"{ARN} is pending deletion."),
        ("PendingImport", KMSInvalidState, f"{ARN} is pending import."),
        ("Unavailable", KMSInvalidState, f"{ARN} is unavailable."),
        ("Creating", KMSInvalidState, f"{ARN} is creating."),
    ],
)
def test_what_a_key_that_is_not_enabled_answers(operation: str, state: str, kind: type[Exception], text: str) -> None:
    refused = refusal(operation, state, ARN)

    assert type(refused) is kind
    assert str(refused) == text


@pytest.mark.parametrize("operation", USES)
@pytest.mark.parametrize("state", ["Enabled", "Updating"])
def test_what_is_allowed(operation: str, state: str) -> None:
    assert refusal(operation, state, ARN) is None


def test_a_key_can_be_described_in_every_state() -> None:
    assert all(refusal("DescribeKey", state, ARN) is None for state in KEY_STATES["Encrypt"])


def test_nothing_is_allowed_by_omission() -> None:
    with pytest.raises(KeyError):
        refusal("Sign", "Enabled", ARN)
    with pytest.raises(KeyError):
        refusal("Encrypt", "Asleep", ARN)


def test_every_built_operation_on_a_key_is_in_the_table() -> None:
    on_keys = {
        name
        for (_, name), operation in OPERATIONS.items()
        if operation.targets is not None and "KeyTarget" in str(operation.targets.__annotations__["return"])
    }

    assert KeyTarget.__name__ == "KeyTarget"
    assert on_keys == set(KEY_STATES)
