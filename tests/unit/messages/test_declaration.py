"""Messages print what they hold, except for blobs and what the model calls sensitive."""

from typing import Annotated

from hypothesis import given
from hypothesis import strategies as st

from strongroom.messages.declaration import Constraint, Structure
from strongroom.messages.kms import custom_key_stores, data_keys, encryption, macs


class Nested(Structure, frozen=True, kw_only=True):
    secret: Annotated[str, Constraint(sensitive=True)] | None = None


class Outer(Structure, frozen=True, kw_only=True):
    name: str | None = None
    blob: bytes | None = None
    nested: Nested | None = None
    several: tuple[Nested, ...] | None = None


def test_a_message_prints_the_members_that_are_set() -> None:
    request = encryption.EncryptRequest(key_id="alias/a", dry_run=False)

    assert repr(request) == "EncryptRequest(key_id='alias/a', dry_run=False)"


def test_a_plaintext_is_not_printed() -> None:
    request = encryption.EncryptRequest(key_id="alias/a", plaintext=b"attack at dawn")

    assert repr(request) == str(request) == "EncryptRequest(key_id='alias/a', plaintext='<hidden>')"


def test_secrets_in_a_structure_in_a_message_are_not_printed() -> None:
    credential = custom_key_stores.XksProxyAuthenticationCredentialType(
        access_key_id="ABCDEFGHIJKLMNOPQRST", raw_secret_access_key="c2VjcmV0"
    )
    request = custom_key_stores.CreateCustomKeyStoreRequest(
        custom_key_store_name="store",
        key_store_password="kmsuser-password",
        xks_proxy_authentication_credential=credential,
    )

    assert "'store'" in repr(request)
    for secret in ("ABCDEFGHIJKLMNOPQRST", "c2VjcmV0", "kmsuser-password"):
        assert secret not in repr(request)


def test_key_material_in_responses_is_not_printed() -> None:
    responses = [
        encryption.DecryptResponse(plaintext=b"attack at dawn"),
        data_keys.GenerateDataKeyResponse(plaintext=b"attack at dawn"),
        data_keys.GenerateDataKeyPairResponse(private_key_plaintext=b"attack at dawn"),
        macs.GenerateMacResponse(mac=b"attack at dawn"),
    ]

    assert not any("attack" in repr(response) for response in responses)


def test_debuggers_that_print_by_member_see_no_secret() -> None:
    assert encryption.DecryptResponse(key_id="k", plaintext=b"attack").__rich_repr__() == [
        ("key_id", "k"),
        ("plaintext", "<hidden>"),
    ]


@given(secret=st.text("0123456789", min_size=12, max_size=40), name=st.text("abc"))
def test_no_nesting_shows_a_secret(secret: str, name: str) -> None:
    nested = Nested(secret=secret)
    message = Outer(name=name, blob=secret.encode(), nested=nested, several=(nested, nested))

    assert secret not in repr(message)
    assert repr(name) in repr(message)
