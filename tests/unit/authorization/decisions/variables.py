"""Policy variables, in conditions and resources."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALICE,
    ALLOW,
    BOB,
    DENY,
    KEY_ARN,
    KEY_ID,
    MALFORMED,
    NO_IDENTITY,
    SESSION,
    Case,
    allow,
    conditional,
    may,
)

_PAGE = "IAM User Guide, IAM policy elements: Variables and tags"
_CONDITION, _RESOURCE = f"{_PAGE}: Condition element", f"{_PAGE}: Resource element"
_DEFAULTS, _SPECIAL = f"{_PAGE}: Specifying default values", f"{_PAGE}: Request information: ${{*}}, ${{?}} and ${{$}}"
_VERSION, _NO_VALUE = f"{_PAGE}: Introduction: Version 2012-10-17", f"{_PAGE}: Policy variables with no value"
_NAMES = f"{_PAGE}: Request information: key names are case-insensitive"
_USER = "KMS Developer Guide, kms:EncryptionContext:context-key: Using variables in an encryption context condition"

_MULTIVALUED = (
    "IAM User Guide, Single-valued vs. multivalued context keys: a multivalued key cannot be a policy variable"
)

_TAG, _SITE = "aws:PrincipalTag/team", "aws:PrincipalTag/site"
_BY_USER = allow("*", when={"StringEquals": {"kms:EncryptionContext:user": "${aws:username}"}})
_BY_SUB = allow("*", when={"StringEquals": {"kms:EncryptionContext:sub": "${cognito-identity.amazonaws.com:sub}"}})
_SUB = "cognito-identity.amazonaws.com:sub"


def _asked(
    name: str, rule: str, expected: str, wanted: Any, given: str, operator: str = "StringEquals", **more: Any
) -> Case:
    values = {_SITE: given, _TAG: "red"}
    return conditional(name, rule, expected, {operator: {_SITE: wanted}}, values=values, **more)


def _resource(name: str, rule: str, expected: str, ending: str, **more: Any) -> Case:
    statement = may(Resource=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/{ending}")
    because = NO_IDENTITY if expected == DENY else ""
    return Case(name, rule, expected, policies=[statement], because=because, **more)


CASES = (
    Case("the user's name in the context: Alice's", _USER, ALLOW, _BY_USER, context={"user": "Alice"}),
    Case("the user's name in the context: another's", _USER, DENY, _BY_USER, context={"user": "Bob"}),
    Case("the user's name in the context: Bob's", _USER, ALLOW, _BY_USER, BOB, context={"user": "Bob"}),
    Case("the user's name in the context: the variable itself", _USER, DENY, _BY_USER,
         context={"user": "${aws:username}"}),
    Case("the user's name in the context: none", _USER, DENY, _BY_USER),
    Case("the user's name in the context: a session has none", _NO_VALUE, DENY, _BY_USER, SESSION,
         context={"user": "One"}),
    Case("the Cognito user in the context: the caller", _USER, ALLOW, _BY_SUB, SESSION, values={_SUB: "us-east-1:1"},
         context={"sub": "us-east-1:1"}),
    Case("the Cognito user in the context: another", _USER, DENY, _BY_SUB, SESSION, values={_SUB: "us-east-1:1"},
         context={"sub": "us-east-1:2"}),
    _asked("a tag as a value: equal", _CONDITION, ALLOW, "${aws:PrincipalTag/team}", "red"),
    _asked("a tag as a value: other", _CONDITION, DENY, "${aws:PrincipalTag/team}", "blue"),
    _asked("a variable within a value", _CONDITION, ALLOW, "team-${aws:PrincipalTag/team}-1", "team-red-1"),
    _asked("a variable within a value: other", _CONDITION, DENY, "team-${aws:PrincipalTag/team}-1", "team-red-2"),
    _asked("two variables", _CONDITION, ALLOW, "${aws:username}/${aws:PrincipalTag/team}", "Alice/red"),
    _asked("a variable with a wildcard", _CONDITION, ALLOW, "${aws:PrincipalTag/team}*", "reddish", "StringLike"),
    _asked("a variable with a wildcard: other", _CONDITION, DENY, "${aws:PrincipalTag/team}*", "blue", "StringLike"),
    _asked("a variable beside other values", _CONDITION, ALLOW, ["green", "${aws:PrincipalTag/team}"], "red"),
    _asked("not a variable's value", _CONDITION, DENY, "${aws:PrincipalTag/team}", "red", "StringNotEquals"),
    _asked("a variable in another case", _NAMES, ALLOW, "${AWS:principaltag/TEAM}", "red"),
    conditional("a variable in an ARN: equal", _CONDITION, ALLOW,
                {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:${aws:username}"}},
                values={"aws:SourceArn": f"arn:aws:sns:us-west-2:{ACCOUNT}:Alice"}),
    conditional("a variable in an ARN: other", _CONDITION, DENY,
                {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:${aws:username}"}},
                values={"aws:SourceArn": f"arn:aws:sns:us-west-2:{ACCOUNT}:Bob"}),
    conditional("a multivalued key is no variable", _MULTIVALUED, DENY, {"StringEquals": {_SITE: "${aws:TagKeys}"}},
                values={_SITE: "a", "aws:TagKeys": ("a", "b")}),
    conditional("a multivalued key is no variable, even with one value", _MULTIVALUED, DENY,
                {"StringEquals": {_SITE: "${aws:TagKeys}"}}, values={_SITE: "a", "aws:TagKeys": ("a",)}),
    Case("a variable behind the fifth colon", f"{_RESOURCE}: after the fifth colon", ALLOW,
         policies=[may(Resource=f"arn:aws:kms:us-west-2:{ACCOUNT}:${{aws:none, 'key'}}/{KEY_ID}")]),
    Case("a variable for the account", f"{_RESOURCE}: after the fifth colon", MALFORMED,
         policies=[may(Resource="arn:aws:kms:us-west-2:${aws:PrincipalAccount}:key/*")]),
    # What has no value, and defaults
    _asked("a variable with no value", _NO_VALUE, DENY, "${aws:PrincipalTag/none}", "red"),
    _asked("a variable with no value is not the empty text", _NO_VALUE, DENY, "${aws:PrincipalTag/none}", ""),
    _asked("a variable with no value is not its name", _NO_VALUE, DENY, "${aws:PrincipalTag/none}",
           "${aws:PrincipalTag/none}"),
    _asked("a variable with no value and a wildcard", _NO_VALUE, DENY, "${aws:PrincipalTag/none}*", "red",
           "StringLike"),
    _asked("a default that is needed", _DEFAULTS, ALLOW, "${aws:PrincipalTag/none, 'company-wide'}", "company-wide"),
    _asked("a default that is needed: other", _DEFAULTS, DENY, "${aws:PrincipalTag/none, 'company-wide'}", "red"),
    _asked("a default that is not needed", _DEFAULTS, ALLOW, "${aws:PrincipalTag/team, 'company-wide'}", "red"),
    _asked("a default that is not needed: the default", _DEFAULTS, DENY, "${aws:PrincipalTag/team, 'company-wide'}",
           "company-wide"),
    # Characters that mean something
    _asked("a literal star", _SPECIAL, ALLOW, "${*}", "*", "StringLike"),
    _asked("a literal star: other", _SPECIAL, DENY, "r${*}", "red", "StringLike"),
    _asked("a literal question mark", _SPECIAL, ALLOW, "what${?}", "what?", "StringLike"),
    _asked("a literal question mark: other", _SPECIAL, DENY, "r${?}d", "red", "StringLike"),
    _asked("a literal dollar", _SPECIAL, ALLOW, "${$}5", "$5"),
    _asked("a literal dollar does not begin a variable", _SPECIAL, ALLOW, "${$}{aws:username}", "${aws:username}"),
    # Versions
    _asked("the older version: the value", _VERSION, DENY, "${aws:PrincipalTag/team}", "red", version="2008-10-17"),
    _asked("the older version: the text itself", _VERSION, ALLOW, "${aws:PrincipalTag/team}",
           "${aws:PrincipalTag/team}", version="2008-10-17"),
    # Resources
    _resource("a key named by a tag", _RESOURCE, ALLOW, "${aws:PrincipalTag/key}",
              values={"aws:PrincipalTag/key": KEY_ID}),
    _resource("another key named by a tag", _RESOURCE, DENY, "${aws:PrincipalTag/key}",
              values={"aws:PrincipalTag/key": KEY_ID[::-1]}),
    _resource("a key named by a tag that is not there", _NO_VALUE, DENY, "${aws:PrincipalTag/key}"),
    _resource("a pattern from a tag", _RESOURCE, ALLOW, "${aws:PrincipalTag/key}*",
              values={"aws:PrincipalTag/key": KEY_ID[:8]}),
    _resource("another pattern from a tag", _RESOURCE, DENY, "${aws:PrincipalTag/key}*",
              values={"aws:PrincipalTag/key": KEY_ID[1:8]}),
    _resource("a key named by a tag, in the older version", _VERSION, DENY, "${aws:PrincipalTag/key}",
              values={"aws:PrincipalTag/key": KEY_ID},
              version="2008-10-17"),
    Case("a resource with a variable beside one without", _RESOURCE, ALLOW,
         policies=[may(Resource=["arn:aws:kms:*:*:key/${aws:PrincipalTag/key}", KEY_ARN])]),
    Case("a variable in a boundary", _PAGE + ": Using variables in policies", ALLOW, allow(ACCOUNT), policies=[may()],
         boundary=may(when={"StringEquals": {_TAG: "${aws:username}"}}), values={_TAG: ALICE.arn.rsplit("/", 1)[1]}),
    Case("a variable in a boundary: other", _PAGE + ": Using variables in policies", DENY, allow(ACCOUNT),
         policies=[may()],
         boundary=may(when={"StringEquals": {_TAG: "${aws:username}"}}), values={_TAG: "Bob"}),
)  # fmt: skip
