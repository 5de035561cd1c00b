"""Where iam-simulate is known to differ from AWS's documentation.

Each known difference is a rule of AWS with a way to put a case so that iam-simulate takes it as the rule has it. It
explains a difference only if iam-simulate then decides as Strongroom does, and Strongroom itself decides the case put
so as it did before. The rules are cited by the page of the IAM User Guide that has them.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import translate

from msgspec import structs

from tests.compat.iam_simulate.cases import ACCOUNT, Case, Json

Change = Callable[[Json, Case], Json | None]
"""Of a statement, for a case: what to put in its place, None for nothing."""


def readings(case: Case) -> list[Case]:
    """The case as every rule has it. It is allowed if iam-simulate allows one of them."""
    for rule in RULES:
        case = rule(case)
    return [case, *named_directly(case)]


def literal_variables(case: Case) -> Case:
    """ "IAM policy elements: Variables and tags": before version 2012-10-17 `${` is text. iam-simulate replaces it."""

    def put(policy: Json) -> Json:
        if policy.get("Version") == "2012-10-17":
            return policy
        replaced: Json = json.loads(json.dumps(policy).replace("${", "${$}{"))
        return replaced

    return _with_policies(case, put)


def epoch_times(case: Case) -> Case:
    """ "Condition operators": a date may be in seconds since the epoch. iam-simulate takes it for milliseconds."""

    def put(operator: str, _name: str, values: list[str]) -> list[str]:
        return [_iso_8601(value) for value in values] if "Date" in operator else values

    context = {name: value if isinstance(value, list) else _iso_8601(value) for name, value in case.context.items()}
    return _with_conditions(structs.replace(case, context=context), put)


def missing_values(case: Case) -> Case:
    """ "Variables and tags", "Policy variables with no value": nothing is equal to or like them, no resource matches.

    So a negated operator holds, and NotResource means all but the others. iam-simulate has both fail.
    """

    def known(text: str) -> str:
        return _NOTHING if _has_no_value(text, case) else text

    def put(operator: str, _name: str, values: list[str]) -> list[str]:
        return [known(value) for value in values] if "Not" in operator else values

    return _with_resources(_with_conditions(case, put), known)


def if_exists_of_any_value(case: Case) -> Case:
    """ "Condition operators", "…IfExists": without the key the element is true. iam-simulate has it false with
    ForAnyValue.
    """
    given = {name.lower() for name in case.context}

    def put(operator: str, name: str, values: list[str]) -> list[str] | None:
        missing = name.lower() not in given
        return None if missing and operator.startswith("ForAnyValue:") and operator.endswith("IfExists") else values

    return _with_conditions(case, put)


def single_addresses(case: Case) -> Case:
    """ "Condition operators": an address without a prefix length is a range of one. In iam-simulate such a range is not
    one that an address of the other IP version is outside of.
    """

    def range_of(text: str) -> str:
        return text if "/" in text else f"{text}/{128 if ':' in text else 32}"

    def put(operator: str, _name: str, values: list[str]) -> list[str]:
        return [range_of(value) for value in values] if "NotIpAddress" in operator else values

    return _with_conditions(case, put)


def wide_stars(case: Case) -> Case:
    """ "Resource": a `*` that ends a segment of an ARN can match beyond the colon. In iam-simulate none does."""

    def widened(pattern: str) -> str:
        if pattern.count(":") >= _COLONS or not pattern.startswith("arn:"):
            return pattern
        return case.resource if re.match(translate(pattern), case.resource) else _NOTHING

    return _with_resources(case, widened)


def not_principal(case: Case) -> Case:
    """ "NotPrincipal": the account must be named beside its principal, or the Deny is for the whole account; and for a
    session its role, which stands for all its sessions unless some are named.

    "Don't use … for IAM users or roles that have a permissions boundary": the Deny is always for them. iam-simulate
    spares whoever is named in any way.
    """

    def put(statement: Json, case: Case) -> Json | None:
        if "NotPrincipal" not in statement:
            return statement
        others = {name: value for name, value in statement.items() if name != "NotPrincipal"}
        return None if _spared(statement["NotPrincipal"], case) else {**others, "Principal": "*"}

    return _with_statements(case, put)


def named_directly(case: Case) -> Iterator[Case]:
    """ "Policy evaluation logic": who is named by the session's own ARN, or ("Principal") by `*`, is not limited by an
    implicit deny in its session policy. iam-simulate always limits.

    The caller by this way alone: what names it otherwise is left out, and the session policy denies only.
    """
    if case.session_policy is None or case.key_policy is None or case.caller.account != ACCOUNT:
        return

    def put(statement: Json, case: Case) -> Json | None:
        if statement["Effect"] == "Deny":
            return statement
        named = _names(statement["Principal"]) & {case.caller.arn, "*"}
        return {**statement, "Principal": {"AWS": sorted(named)}} if named else None

    key_policy = _changed(case.key_policy, case, put)
    denies = [statement for statement in case.session_policy["Statement"] if statement["Effect"] == "Deny"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    yield structs.replace(
        case, key_policy=key_policy, session_policy={**case.session_policy, "Statement": [everything, *denies]}
    )


RULES: tuple[Callable[[Case], Case], ...] = (
    literal_variables,
    epoch_times,
    missing_values,
    if_exists_of_any_value,
    single_addresses,
    wide_stars,
    not_principal,
)

_NOTHING = "arn:aws:nothing:::nothing"
"""A text that is equal to no other and like none."""
_COLONS = 5
_VARIABLE = re.compile(r"\$\{([^}*?$,]+)(,[^}]*)?\}")
_EPOCH = re.compile("[0-9]{10}")


def _iso_8601(text: str) -> str:
    return datetime.fromtimestamp(int(text), UTC).isoformat() if _EPOCH.fullmatch(text) else text


def _has_no_value(text: str, case: Case) -> bool:
    single = {name.lower() for name, value in case.context.items() if isinstance(value, str)}
    return any(name.lower() not in single and not default for name, default in _VARIABLE.findall(text))


def _spared(element: str | Json, case: Case) -> bool:
    names = _names(element)
    caller = case.caller
    account = {caller.account, f"arn:aws:iam::{caller.account}:root"}
    if caller.kind == "AWSService":
        return bool(names & {caller.arn, "*"})
    if case.boundary is not None:
        return False
    if "*" in names or (caller.kind == "Root" and names & account):
        return True
    if caller.kind == "AssumedRole":
        sessions = f"{caller.arn.rpartition('/')[0]}/"
        some = any(name is not None and name.startswith(sessions) for name in names)
        return bool(names & account) and caller.issuer in names and (not some or caller.arn in names)
    return bool(names & account) and bool(names & {caller.arn, caller.issuer})


def _names(element: str | Json) -> set[str | None]:
    if isinstance(element, str):
        return {element}
    return {name for names in element.values() for name in _listed(names)}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _with_policies(case: Case, put: Callable[[Json], Json]) -> Case:
    return structs.replace(
        case,
        key_policy=None if case.key_policy is None else put(case.key_policy),
        identity_policies=[put(policy) for policy in case.identity_policies],
        boundary=None if case.boundary is None else put(case.boundary),
        session_policy=None if case.session_policy is None else put(case.session_policy),
    )


def _with_statements(case: Case, put: Change) -> Case:
    return _with_policies(case, lambda policy: _changed(policy, case, put))


def _changed(policy: Json, case: Case, put: Change) -> Json:
    changed = [put(statement, case) for statement in policy["Statement"]]
    kept = [statement for statement in changed if statement is not None]
    return {**policy, "Statement": kept or [_without_effect(policy["Statement"][0])]}


def _without_effect(statement: Json) -> Json:
    """A statement on nothing, with a principal if this one has one: a policy has at least one statement."""
    principal = {"Principal": "*"} if statement.keys() & {"Principal", "NotPrincipal"} else {}
    return {"Effect": "Allow", **principal, "Action": "s3:GetObject", "Resource": "*"}


def _with_resources(case: Case, put: Callable[[str], str]) -> Case:
    def change(statement: Json, _case: Case) -> Json:
        named = {
            element: _listed(statement[element]) for element in ("Resource", "NotResource") if element in statement
        }
        return {**statement, **{element: [put(one) for one in patterns] for element, patterns in named.items()}}

    return _with_statements(case, change)


def _with_conditions(case: Case, put: Callable[[str, str, list[str]], list[str] | None]) -> Case:
    """Put other values in the place of those of every operator and key; None takes the condition away."""

    def change(statement: Json, _case: Case) -> Json:
        if "Condition" not in statement:
            return statement
        changed: Json = {}
        for operator, tests in statement["Condition"].items():
            for name, given in tests.items():
                values = put(operator, name, _listed(given))
                if values is not None:
                    changed.setdefault(operator, {})[name] = given if values == _listed(given) else values
        return {**statement, "Condition": changed}

    return _with_statements(case, change)
