"""The rules of a key store of the XKS proxy."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.authorization.xks_rules import MAX_RULES, Asked, decide, parse_rules
from strongroom.errors import ConfigurationError

ANN = "arn:aws:iam::111122223333:user/ann"
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
EVERYTHING = Asked("payments-1", "Encrypt", "ReEncrypt", ANN, KEY, "ebs.us-east-1.amazonaws.com", "vpc-1", "vpce-1")
MEMBERS = ("Keys", "Calls", "Operations", "Principals", "KmsKeys", "ViaServices", "SourceVpcs", "SourceVpces")
"""In the order of `Asked`."""
CALLS = ("GetKeyMetadata", "Encrypt", "Decrypt")


def document(*rules: dict[str, Any]) -> str:
    return json.dumps({"Version": 1, "Rules": rules})


def allowed(asked: Asked, *rules: dict[str, Any]) -> bool:
    return decide(parse_rules(document(*rules)), asked)


def test_a_rule_without_members_matches_anything() -> None:
    assert allowed(EVERYTHING, {"Effect": "Allow"})
    assert allowed(Asked("a", "GetKeyMetadata", "CreateKey"), {"Effect": "Allow"})
    assert not allowed(EVERYTHING, {"Effect": "Deny"})


def test_what_no_rule_allows_is_refused() -> None:
    assert not allowed(EVERYTHING)
    assert not allowed(EVERYTHING, {"Effect": "Allow", "Keys": ["other"]})


@pytest.mark.parametrize("call", CALLS)
def test_calls_are_named_whole(call: str) -> None:
    asked, others = EVERYTHING._replace(call=call), [other for other in CALLS if other != call]
    assert allowed(asked, {"Effect": "Allow", "Calls": [call]})
    assert not allowed(asked, {"Effect": "Allow", "Calls": others})
    assert not allowed(asked, {"Effect": "Allow"}, {"Effect": "Deny", "Calls": [call]})


@pytest.mark.parametrize("place", [place for place, member in enumerate(MEMBERS) if member != "Calls"])
def test_each_member_is_compared_with_its_own_metadata(place: int) -> None:
    there = EVERYTHING[place]
    assert there is not None
    others = [other for other in EVERYTHING if other and other != there and other.isalpha() >= there.isalpha()]
    assert allowed(EVERYTHING, {"Effect": "Allow", MEMBERS[place]: [there]})
    assert allowed(EVERYTHING, {"Effect": "Allow", MEMBERS[place]: ["none", f"{there[:3]}*"]})
    assert allowed(EVERYTHING, {"Effect": "Allow", MEMBERS[place]: [f"?{there[1:]}"]})
    assert not allowed(EVERYTHING, {"Effect": "Allow", MEMBERS[place]: others})
    assert not allowed(EVERYTHING, {"Effect": "Allow", MEMBERS[place]: [there.swapcase()]})
    assert not allowed(EVERYTHING, {"Effect": "Allow"}, {"Effect": "Deny", MEMBERS[place]: [there]})


@pytest.mark.parametrize("member", MEMBERS[3:])
def test_a_member_does_not_match_what_the_request_does_not_say(member: str) -> None:
    bare = Asked("payments-1", "GetKeyMetadata", "CreateKey")
    assert not allowed(bare, {"Effect": "Allow", member: ["*"]})
    assert allowed(bare, {"Effect": "Allow"}, {"Effect": "Deny", member: ["*"]})
    assert allowed(EVERYTHING, {"Effect": "Allow", member: ["*"]})


def test_all_members_of_a_rule_must_match() -> None:
    rule = {"Effect": "Allow", "Keys": ["payments-*"], "Principals": ["arn:aws:iam::111122223333:*"]}
    assert allowed(EVERYTHING, rule)
    assert not allowed(EVERYTHING._replace(key="other"), rule)
    assert not allowed(EVERYTHING._replace(principal="arn:aws:iam::444455556666:user/ann"), rule)


def test_nothing_in_a_pattern_is_a_variable() -> None:
    assert allowed(EVERYTHING._replace(principal="${aws:username}"), {"Effect": "Allow", "Principals": ["${aws:u*"]})


patterns = st.lists(st.text("ab*?", min_size=1, max_size=6), min_size=1, max_size=3)
calls = st.sampled_from(CALLS)
rules = st.lists(
    st.fixed_dictionaries(
        {"Effect": st.sampled_from(["Allow", "Deny"])},
        optional=dict.fromkeys(MEMBERS, patterns) | {"Calls": st.lists(calls, min_size=1, max_size=2)},
    ),
    max_size=5,
)  # fmt: skip
said = st.none() | st.text("ab", max_size=6)
requests = st.builds(Asked, st.text("ab", max_size=6), calls, st.text("ab", max_size=6), said, said, said, said, said)


def matches_plainly(rule: dict[str, Any], asked: Asked) -> bool:
    """The rule as the documentation tells it, by regular expressions."""
    for member, value in zip(MEMBERS, asked, strict=True):
        if member in rule:
            expressions = [
                "".join({"*": ".*", "?": "."}.get(letter, letter) for letter in pattern) for pattern in rule[member]
            ]
            if value is None or not any(re.fullmatch(one, value) for one in expressions):
                return False
    return True


@given(rules, requests)
def test_decisions_are_as_told(given_rules: list[dict[str, Any]], asked: Asked) -> None:
    effects = {rule["Effect"] for rule in given_rules if matches_plainly(rule, asked)}
    assert allowed(asked, *given_rules) == (effects == {"Allow"})


@given(rules, rules, requests)
def test_a_deny_takes_and_never_gives(some: list[dict[str, Any]], more: list[dict[str, Any]], asked: Asked) -> None:
    denials = [rule | {"Effect": "Deny"} for rule in more]
    assert not (allowed(asked, *some, *denials) and not allowed(asked, *some))


@given(st.randoms(use_true_random=False), rules, requests)
def test_the_order_of_rules_means_nothing(random: Any, some: list[dict[str, Any]], asked: Asked) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    assert allowed(asked, *some) == allowed(asked, *shuffled)


@given(rules, requests)
def test_saying_less_matches_no_more_allows(some: list[dict[str, Any]], asked: Asked) -> None:
    only_allows = [rule | {"Effect": "Allow"} for rule in some]
    bare = Asked(asked.key, asked.call, asked.operation)
    assert not (allowed(bare, *only_allows) and not allowed(asked, *only_allows))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `Version`"),
        ('{"Version": 2, "Rules": []}', "`2`|2"),
        ('{"Version": true, "Rules": []}', "Version"),
        ('{"Version": 1}', "missing required field `Rules`"),
        ('{"Version": 1, "Rules": [], "Other": 1}', "unknown field `Other`"),
        ('{"Version": 1, "Rules": [{}]}', "missing required field `Effect`"),
        ('{"Version": 1, "Rules": [{"Effect": "allow"}]}', "allow"),
        ('{"Version": 1, "Rules": [{"Effect": "Allow", "Principal": ["*"]}]}', "unknown field `Principal`"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Keys": "a"}]}', "Expected `array`, got `str`"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Keys": []}]}', "length >= 1"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Keys": [""]}]}', "length >= 1"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Keys": null}]}', "null"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Effect": "Allow"}]}', "twice"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Calls": ["Decript"]}]}', "Decript"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Calls": ["*"]}]}', "Invalid enum value"),
        ('{"Version": 1, "Rules": [{"Effect": "Deny", "Operations": ["kms:Decrypt"]}]}', "matching regex"),
        ("[" * 20_000 + "]" * 10_000, "nested|not JSON"),
        (document({"Effect": "Allow", "Keys": ["a" * MAX_RULES]}), "32,768 characters"),
    ],
)
def test_what_are_no_rules_is_told_in_a_line(text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault) as failure:
        parse_rules(text)
    assert "\n" not in str(failure.value)


def test_rules_are_compiled_once() -> None:
    text = document({"Effect": "Allow"})
    assert parse_rules(text) is parse_rules(text)


def test_patterns_of_many_stars_come_to_an_end() -> None:
    stars = document({"Effect": "Allow", "Principals": ["*a" * 8_000 + "?b", "*a" * 7_000 + "b"]})
    assert not decide(parse_rules(stars), EVERYTHING._replace(principal="a" * 2_048))
