"""The grammar of validation errors, and Java's regular expressions."""

import re
import unicodedata
from collections.abc import Mapping

import pytest

from strongroom.messages import cloudtrail, iam, kms, sts
from strongroom.messages.constraints import (
    Rule,
    content_rules,
    element_violation,
    length_rules,
    null_violation,
    report,
    value_rules,
    violation,
)
from strongroom.messages.declaration import Constraint, OperationMessages
from strongroom.messages.schema import schema_of

TAG = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+"


def broken(rules: tuple[Rule, ...], value: object) -> list[str]:
    return [rule.text for rule in rules if not rule.holds(value)]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (0, ["Member must have value greater than or equal to 1"]),
        (1, []),
        (1024, []),
        (1025, ["Member must have value less than or equal to 1024"]),
        (10**4000, ["Member must have value less than or equal to 1024"]),
        (-(10**4000), ["Member must have value greater than or equal to 1"]),
    ],
)
def test_values_are_bounded_inclusively(value: int, texts: list[str]) -> None:
    assert broken(value_rules(Constraint(minimum=1, maximum=1024)), value) == texts


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("", ["Member must have length greater than or equal to 1"]),
        ("ab", []),
        ("\U0001f511\U0001f511", []),
        (b"\xc3\xa9\xc3", ["Member must have length less than or equal to 2"]),
        (("a", "b", "c"), ["Member must have length less than or equal to 2"]),
    ],
)
def test_lengths_count_code_points_bytes_and_items(value: object, texts: list[str]) -> None:
    assert broken(length_rules(Constraint(minimum=1, maximum=2)), value) == texts


def test_no_bound_means_no_rule() -> None:
    unbounded = Constraint(sensitive=True)

    assert length_rules(unbounded) == value_rules(unbounded) == content_rules(unbounded) == ()


def test_an_enumeration_is_named_in_the_order_of_the_model() -> None:
    rules = content_rules(Constraint(values=("B", "A")))

    assert broken(rules, "A") == []
    assert broken(rules, "a") == ["Member must satisfy enum value set: [B, A]"]


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z]+$", "abc", "abc\n"),
        ("[a-z]+", "abc", "abc1"),
        (r"[\w]+", "a_1", "é"),
        (r"\d", "1", "\u0661"),
        (r"^[a-zA-Z0-9:/_\s.-]+$", "a b\t.", "a\u00a0b"),
        (r"a.b", "a-b", "a\nb"),
        (r"a.b", "a-b", "a\u2028b"),
        (r"a.b", "a-b", "a\x85b"),
        (r"a\.b", "a.b", "a-b"),
        (r"a[.]b", "a.b", "a-b"),
        (r"a[\].]b", "a]b", "a-b"),
        (r"[\u0009\u000A\u000D\u0020-\u00FF]+", "\t\n\r ÿ", "Ā"),
        ("^[a-zA-Z0-9-_.]+$", "a-_.", "a+"),
        (TAG, "Aé漢\u0661½\u2167_.:/=+-@ \u00a0\u2003\u2028\U0001d400", "a!"),
        (TAG, "a", "a\u0301"),  # a mark
        (TAG, "a", "a\t"),
        (TAG, "a", "a\n"),
        (TAG, "a", "a\u200b"),
        (TAG, "a", "\U0001f511"),
        (rf"\w{TAG}", "aé", "éa"),
        (rf"{TAG}\w", "éa", "aé"),
    ],
)
def test_patterns_are_read_as_java_reads_them(pattern: str, good: str, bad: str) -> None:
    rules = content_rules(Constraint(pattern=pattern))

    assert broken(rules, good) == []
    assert broken(rules, bad) == [f"Member must satisfy regular expression pattern: {pattern}"]


def test_letters_separators_and_numbers_are_unicodes() -> None:
    holds = content_rules(Constraint(pattern=TAG))[0].holds
    others = set("_.:/=+-@")

    for character in map(chr, range(0x30000)):
        expected = unicodedata.category(character)[0] in "LZN" or character in others
        assert bool(holds(character)) == expected, hex(ord(character))


@pytest.mark.parametrize("pattern", [r"[\p{L}]", r"\p{L}", r"[\w\p{L}\p{Z}\p{N}_]", r"[\p{L}\p{Z}\p{N}_\S]"])
def test_other_uses_of_categories_are_not_read_at_all(pattern: str) -> None:
    with pytest.raises((ValueError, re.error)):
        content_rules(Constraint(pattern=pattern))


@pytest.mark.parametrize("operations", [cloudtrail.OPERATIONS, iam.OPERATIONS, kms.OPERATIONS, sts.OPERATIONS])
def test_every_pattern_of_the_models_is_read(operations: Mapping[str, OperationMessages]) -> None:
    for messages in operations.values():
        for kind in filter(None, (messages.request, messages.response)):
            assert schema_of(kind).kind is kind


def test_violations_name_value_path_and_rule() -> None:
    assert violation("x", "keyId", "Rule") == "Value 'x' at 'keyId' failed to satisfy constraint: Rule"
    assert violation(None, "plaintext", "Rule") == "Value at 'plaintext' failed to satisfy constraint: Rule"
    assert null_violation("keyId") == "Value null at 'keyId' failed to satisfy constraint: Member must not be null"


def test_a_list_is_told_every_rule_of_its_elements() -> None:
    rules = length_rules(Constraint(minimum=1, maximum=2))

    assert element_violation("[abc]", "names", rules) == (
        "Value '[abc]' at 'names' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must have length less than or equal to 2, Member must have length greater than or equal to 1]"
    )


def test_the_report_counts_and_joins() -> None:
    assert report(["one"]) == "1 validation error detected: one"
    assert report(["one", "two"]) == "2 validation errors detected: one; two"


def test_the_report_ends_at_ten() -> None:
    assert report(list("abcdefghijkl")) == "10 validation errors detected: a; b; c; d; e; f; g; h; i; j"
