"""Inline policies of users, groups and roles."""

import json
import urllib.parse
from typing import NamedTuple

import pytest

from tests.unit.operations.iam.account import TRUST, Account, document


class Kind(NamedTuple):
    """What has inline policies, with the most that they may have in all."""

    name: str
    characters: int

    def make(self, account: Account) -> dict[str, str]:
        """Make one; the member of a request that names it."""
        named = {f"{self.name}Name": account.name("inline")}
        account.call(f"Create{self.name}", **named, **({"AssumeRolePolicyDocument": TRUST} if self.is_role else {}))
        return named

    @property
    def is_role(self) -> bool:
        return self.name == "Role"


each_kind = pytest.mark.parametrize("kind", [Kind("User", 2_048), Kind("Group", 5_120), Kind("Role", 10_240)])


def sized(characters: int, *, space: str = "") -> str:
    """A policy of so many characters, white space not counted."""
    empty = document(Sid="")
    left = characters - len("".join(empty.split()))
    return document(Sid="x" * left).replace(" ", space)


@each_kind
def test_a_policy_is_put_told_and_deleted(account: Account, kind: Kind) -> None:
    named = kind.make(account)
    text = json.dumps(json.loads(document(Sid="a")), indent=2) + "\n"
    account.call(f"Put{kind.name}Policy", **named, PolicyName="p", PolicyDocument=text)
    found = account.call(f"Get{kind.name}Policy", **named, PolicyName="p")
    assert (found.policy_name, getattr(found, f"{kind.name.lower()}_name")) == ("p", named[f"{kind.name}Name"])
    assert found.policy_document == urllib.parse.quote(text, safe="")
    assert found.policy_document.startswith("%7B%0A%20%20%22Version%22%3A%20%222012-10-17%22%2C")
    account.call(f"Put{kind.name}Policy", **named, PolicyName="p", PolicyDocument=document("kms:Decrypt"))
    found = account.call(f"Get{kind.name}Policy", **named, PolicyName="p")
    assert urllib.parse.unquote(found.policy_document) == document("kms:Decrypt")
    account.call(f"Delete{kind.name}Policy", **named, PolicyName="p")
    gone = ("NoSuchEntity", f"The {kind.name.lower()} policy with name p cannot be found.")
    for operation in ("Get", "Delete"):
        assert account.refusal(f"{operation}{kind.name}Policy", **named, PolicyName="p") == gone


@each_kind
def test_who_is_not_there_has_no_policies(account: Account, kind: Kind) -> None:
    named = {f"{kind.name}Name": "nobody"}
    missing = ("NoSuchEntity", f"The {kind.name.lower()} with name nobody cannot be found.")
    put = {"PolicyName": "p", "PolicyDocument": document()}
    assert account.refusal(f"Put{kind.name}Policy", **named, **put) == missing
    for operation in ("Get", "Delete"):
        assert account.refusal(f"{operation}{kind.name}Policy", **named, PolicyName="p") == missing
    assert account.refusal(f"List{kind.name}Policies", **named) == missing


@each_kind
def test_policies_have_a_size_in_all(account: Account, kind: Kind) -> None:
    named = kind.make(account)
    put = f"Put{kind.name}Policy"
    name = named[f"{kind.name}Name"]
    over = (
        "LimitExceeded",
        f"Maximum policy size of {kind.characters} bytes exceeded for {kind.name.lower()} {name}",
    )
    account.call(put, **named, PolicyName="half", PolicyDocument=sized(kind.characters // 2, space="\n\t "))
    rest = kind.characters - kind.characters // 2
    assert account.refusal(put, **named, PolicyName="rest", PolicyDocument=sized(rest + 1)) == over
    account.call(put, **named, PolicyName="rest", PolicyDocument=sized(rest))
    assert account.refusal(put, **named, PolicyName="half", PolicyDocument=sized(rest + 1)) == over
    account.call(put, **named, PolicyName="half", PolicyDocument=sized(kind.characters // 2))
    account.call(f"Delete{kind.name}Policy", **named, PolicyName="half")
    account.call(put, **named, PolicyName="rest", PolicyDocument=sized(kind.characters))


@each_kind
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "Syntax errors in policy."),
        ("x", "This policy contains invalid Json"),
        (document(Principal="*"), "Policy document should not specify a principal."),
        (document("Encrypt"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
    ],
)
def test_a_policy_must_be_one(account: Account, kind: Kind, text: str, told: str) -> None:
    named = kind.make(account)
    refused = account.refusal(f"Put{kind.name}Policy", **named, PolicyName="p", PolicyDocument=text)
    assert refused == ("MalformedPolicyDocument", told)
    assert account.call(f"List{kind.name}Policies", **named).policy_names == ()


@each_kind
def test_names_come_in_pages(account: Account, kind: Kind) -> None:
    longest = {f"{kind.name}Name": account.name("n" * (120 if kind.name == "Group" else 55))}
    account.call(f"Create{kind.name}", **longest, **({"AssumeRolePolicyDocument": TRUST} if kind.is_role else {}))
    names = [letter * 128 for letter in "bac"]
    for name in names:
        account.call(f"Put{kind.name}Policy", **longest, PolicyName=name, PolicyDocument=document())
    pages = account.pages(f"List{kind.name}Policies", "policy_names", **longest, MaxItems=1)
    assert pages == [(name,) for name in sorted(names)]


def test_a_policy_is_in_force_until_it_is_deleted(account: Account) -> None:
    key = account.user("ruled", document("iam:GetUser"))
    account.by(key).call("GetUser")
    account.call("DeleteUserPolicy", UserName="ruled", PolicyName="p0")
    assert account.by(key).refusal("GetUser")[0] == "AccessDenied"
    account.call("CreateGroup", GroupName="rulers")
    account.call("PutGroupPolicy", GroupName="rulers", PolicyName="p", PolicyDocument=document("iam:GetUser"))
    account.call("AddUserToGroup", GroupName="rulers", UserName="ruled")
    account.by(key).call("GetUser")
    account.call("PutGroupPolicy", GroupName="rulers", PolicyName="p", PolicyDocument=document("iam:ListUsers"))
    assert account.by(key).refusal("GetUser")[0] == "AccessDenied"
