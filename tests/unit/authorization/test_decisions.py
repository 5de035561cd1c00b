"""The decision table: what AWS's documentation says of each case is what comes of it."""

import pytest

from tests.unit.authorization.asked import agrees, outcome
from tests.unit.authorization.decisions.case import ALLOW, DENY, MALFORMED
from tests.unit.authorization.decisions.table import COUNT, TABLE


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_is_the_documented_one(name: str) -> None:
    case = TABLE[name]

    assert agrees(case), f"{case.rule}: expected {case.expected} {case.because}, not {outcome(case)}"


def test_the_table_is_whole() -> None:
    assert len(TABLE) == COUNT, "a subject has two cases of one name"
    assert sum(case.expected != MALFORMED for case in TABLE.values()) >= 300
    for expected in (ALLOW, DENY, MALFORMED):
        assert any(case.expected == expected for case in TABLE.values())


def test_every_case_cites_a_page_and_a_section() -> None:
    for name, case in TABLE.items():
        assert ", " in case.rule, name
