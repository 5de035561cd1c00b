import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import NotFound
from strongroom.model.key_reference import KeyReference, is_key_id, parse_key_reference

REGION, ACCOUNT = "us-east-1", "111122223333"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
MULTI_REGION = "mrk-" + "0123456789abcdef" * 2
ARN = f"arn:aws:kms:{REGION}:444455556666:"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (KEY_ID, KeyReference(REGION, ACCOUNT, KEY_ID)),
        (MULTI_REGION, KeyReference(REGION, ACCOUNT, MULTI_REGION)),
        (f"{ARN}key/{KEY_ID}", KeyReference(REGION, "444455556666", KEY_ID)),
        ("alias/a/b", KeyReference(REGION, ACCOUNT, "alias/a/b")),
        (f"{ARN}alias/a", KeyReference(REGION, "444455556666", "alias/a")),
    ],
)
def test_the_forms_of_a_key_id(value: str, expected: KeyReference) -> None:
    reference = parse_key_reference(value, region=REGION, account=ACCOUNT)

    assert reference == expected
    assert reference.is_alias is ("alias/" in value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "Invalid keyId 'x'"),
        (KEY_ID.upper(), f"Invalid keyId '{KEY_ID.upper()}'"),
        (KEY_ID.replace("-", ""), f"Invalid keyId '{KEY_ID.replace('-', '')}'"),
        (KEY_ID + "\n", f"Invalid keyId '{KEY_ID}\n'"),
        (f"{ARN}key/x", "Invalid keyId 'x'"),
        (f"{ARN}grant/x", f"Invalid keyId '{ARN}grant/x'"),
        (ARN.replace("aws", "aws-cn") + f"key/{KEY_ID}", f"Invalid keyId '{ARN.replace('aws', 'aws-cn')}key/{KEY_ID}'"),
        (ARN.replace("us-east-1", "us-west-2") + f"key/{KEY_ID}", "Invalid arn us-west-2"),
    ],
)
def test_what_names_no_key(value: str, text: str) -> None:
    with pytest.raises(NotFound) as refused:
        parse_key_reference(value, region=REGION, account=ACCOUNT)

    assert refused.value.message == text


@given(st.text())
def test_any_text_is_read_or_refused(value: str) -> None:
    try:
        reference = parse_key_reference(value, region=REGION, account=ACCOUNT)
    except NotFound:
        return
    assert reference.is_alias or is_key_id(reference.name)
