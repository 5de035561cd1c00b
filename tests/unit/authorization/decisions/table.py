"""The whole decision table: every subject's cases."""

from tests.unit.authorization.decisions import (
    actions,
    chaining,
    cross_account,
    documents,
    effects,
    evaluation,
    existence,
    grants,
    kms_keys,
    operators,
    principals,
    resources,
    retirement,
    services,
    sets,
    strings,
    variables,
    without_key,
)
from tests.unit.authorization.decisions.case import Case

_SUBJECTS = (
    effects,
    principals,
    actions,
    resources,
    strings,
    operators,
    existence,
    sets,
    variables,
    kms_keys,
    evaluation,
    cross_account,
    services,
    grants,
    chaining,
    retirement,
    without_key,
    documents,
)

TABLE: dict[str, Case] = {
    f"{subject.__name__.rpartition('.')[2]}: {case.name}": case for subject in _SUBJECTS for case in subject.CASES
}
"""Subject and name of a case -> the case."""

COUNT = sum(len(subject.CASES) for subject in _SUBJECTS)
