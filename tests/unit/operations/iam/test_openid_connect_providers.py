"""OpenID Connect providers."""

from typing import Any

import pytest

from strongroom.operations.iam import openid_connect_providers
from tests.composed import NOW
from tests.unit.operations.iam.account import ARN, Account

PRINT = "0123456789abcdef" * 2 + "01234567"


def made(account: Account, **members: Any) -> str:
    """Register a provider; its ARN."""
    url = f"https://{account.name('issuer')}.example"
    made = account.call("CreateOpenIDConnectProvider", Url=url, **members)
    arn: str = made.open_id_connect_provider_arn
    return arn


def told(account: Account, arn: str) -> Any:
    return account.call("GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)


def test_a_provider_is_made_and_told(account: Account) -> None:
    made = account.call(
        "CreateOpenIDConnectProvider",
        Url="https://tokens.example/realms/One",
        ClientIDList=["app", "other", "app"],
        ThumbprintList=[PRINT.upper()],
        Tags=[{"Key": "a", "Value": "1"}],
    )
    assert made.open_id_connect_provider_arn == f"{ARN}oidc-provider/tokens.example/realms/One"
    found = told(account, made.open_id_connect_provider_arn)
    assert (found.url, found.create_date) == ("tokens.example/realms/One", NOW)
    assert (found.client_id_list, found.thumbprint_list) == (("app", "other"), (PRINT,))
    assert [(tag.key, tag.value) for tag in made.tags] == [(tag.key, tag.value) for tag in found.tags] == [("a", "1")]


def test_client_ids_and_thumbprints_may_be_left_out(account: Account) -> None:
    found = told(account, made(account))
    assert (found.client_id_list, found.thumbprint_list, found.tags) == ((), (), ())


@pytest.mark.parametrize("url", ["https://taken.example/", "https://taken.example"])
def test_a_url_is_registered_once(account: Account, url: str) -> None:
    if f"{ARN}oidc-provider/taken.example" not in listed(account):
        account.call("CreateOpenIDConnectProvider", Url="https://taken.example")
    refused = account.refusal("CreateOpenIDConnectProvider", Url=url)
    assert refused == ("EntityAlreadyExists", f"Provider with url {url} already exists.")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "a.example",
        "https://",
        "https:///path",
        "https://a.example?q=1",
        "https://a.example#f",
        "https://user@a.example",
        "https://a.example/a b",
        "https://a.example:port",
        "https://a.example/*",
        "https://a.example\n",
    ],
)
def test_a_url_has_its_form(account: Account, url: str) -> None:
    refused = account.refusal("CreateOpenIDConnectProvider", Url=url)
    assert refused == ("ValidationError", "Invalid Open ID Connect Provider URL")


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetOpenIDConnectProvider", {}),
        ("AddClientIDToOpenIDConnectProvider", {"ClientID": "app"}),
        ("RemoveClientIDFromOpenIDConnectProvider", {"ClientID": "app"}),
        ("UpdateOpenIDConnectProviderThumbprint", {"ThumbprintList": [PRINT]}),
    ],
)
def test_what_is_not_there_is_not_found(account: Account, operation: str, members: dict[str, Any]) -> None:
    foreign = made(account).replace("111122223333", "444455556666")
    for arn in (f"{ARN}oidc-provider/none.example", foreign):
        refused = account.refusal(operation, OpenIDConnectProviderArn=arn, **members)
        assert refused == ("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}")


def test_client_ids_come_and_go(account: Account) -> None:
    arn = made(account, ClientIDList=["first"])
    named = {"OpenIDConnectProviderArn": arn}
    for client_id in ("second", "first"):
        account.call("AddClientIDToOpenIDConnectProvider", **named, ClientID=client_id)
    assert told(account, arn).client_id_list == ("first", "second")
    for client_id in ("first", "never"):
        account.call("RemoveClientIDFromOpenIDConnectProvider", **named, ClientID=client_id)
    assert told(account, arn).client_id_list == ("second",)


def test_a_provider_has_100_client_ids_at_most(account: Account) -> None:
    client_ids = [f"app-{number}" for number in range(101)]
    over = ("LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100")
    url = "https://many.example"
    assert account.refusal("CreateOpenIDConnectProvider", Url=url, ClientIDList=client_ids) == over
    named = {"OpenIDConnectProviderArn": made(account, ClientIDList=client_ids[:100])}
    assert account.refusal("AddClientIDToOpenIDConnectProvider", **named, ClientID=client_ids[100]) == over
    account.call("AddClientIDToOpenIDConnectProvider", **named, ClientID=client_ids[0])
    account.call("RemoveClientIDFromOpenIDConnectProvider", **named, ClientID=client_ids[0])
    account.call("AddClientIDToOpenIDConnectProvider", **named, ClientID=client_ids[100])
    assert told(account, named["OpenIDConnectProviderArn"]).client_id_list == tuple(client_ids[1:])


def test_a_provider_has_five_thumbprints_at_most(account: Account) -> None:
    prints = [f"{number:040}" for number in range(6)]
    arn = made(account, ThumbprintList=prints[:5])
    over = ("InvalidInput", "Thumbprint list must contain fewer than 5 entries.")
    assert account.refusal("CreateOpenIDConnectProvider", Url="https://p.example", ThumbprintList=prints) == over
    operation = "UpdateOpenIDConnectProviderThumbprint"
    assert account.refusal(operation, OpenIDConnectProviderArn=arn, ThumbprintList=prints) == over
    assert told(account, arn).thumbprint_list == tuple(prints[:5])
    account.call(operation, OpenIDConnectProviderArn=arn, ThumbprintList=prints[5:])
    assert told(account, arn).thumbprint_list == (prints[5],)


@pytest.mark.parametrize("wrong", ["g" * 40, "0" * 39, "0" * 41])
def test_a_thumbprint_has_40_hexadecimal_digits(account: Account, wrong: str) -> None:
    arn = made(account, ThumbprintList=[PRINT])
    operation = "UpdateOpenIDConnectProviderThumbprint"
    assert account.refusal(operation, OpenIDConnectProviderArn=arn, ThumbprintList=[wrong])[0] == "ValidationError"
    refused = account.refusal("CreateOpenIDConnectProvider", Url="https://w.example", ThumbprintList=[wrong])
    assert refused[0] == "ValidationError"
    assert told(account, arn).thumbprint_list == (PRINT,)


def listed(account: Account) -> list[str]:
    found = account.call("ListOpenIDConnectProviders").open_id_connect_provider_list
    return [one.arn for one in found]


def test_providers_are_listed_until_they_are_deleted(account: Account) -> None:
    arn = made(account, ClientIDList=["old"], ThumbprintList=[PRINT], Tags=[{"Key": "a", "Value": "1"}])
    assert arn in listed(account)
    assert listed(account) == sorted(listed(account))
    for _ in range(2):  # AWS: the operation is idempotent
        account.call("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
        assert arn not in listed(account)
    url = f"https://{arn.partition('/')[2]}"
    account.call("CreateOpenIDConnectProvider", Url=url)
    found = told(account, arn)
    assert (found.client_id_list, found.thumbprint_list, found.tags) == ((), (), ())


def test_an_account_has_as_many_providers_as_it_may(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(listed(account))
    monkeypatch.setattr(openid_connect_providers, "_MAX_PROVIDERS", there + 1)
    made(account)
    refused = account.refusal("CreateOpenIDConnectProvider", Url="https://too-many.example")
    assert refused == ("LimitExceeded", f"Cannot exceed quota for OpenIdConnectProvidersPerAccount: {there + 1}")
