"""The decision table of `tests/unit/authorization/decisions`, asked of a server of two processes through boto3.

People, policies, keys and grants are real and made through the API, and decisions come back as answers. What an
operation that is not built would be answered is asked of IAM's simulator. A case that cannot be asked is left out for a
reason.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import pytest

from strongroom.testing.server import running_server
from tests.e2e.asking import REQUESTS, ask, key_text, simulate
from tests.e2e.cast import Cast, prepare
from tests.e2e.supposing import supposed
from tests.issuer import Issuer
from tests.sizes import Size
from tests.unit.authorization.decisions.case import ALLOW, DENY, MALFORMED, Case
from tests.unit.authorization.decisions.table import TABLE

CASTS = 2
"""Casts that play at once."""

ASKED = {ALLOW: 388, DENY: 428, MALFORMED: 52}
"""Outcome that the table expects -> how many cases are asked of KMS."""
STANDING_IN = 163
"""How many of those are asked with a value in the encryption context that no client can cause elsewhere."""
SIMULATED = 48
"""How many are asked of IAM's simulator."""
LEFT_OUT = {
    "a federated user": 17,
    "a grant for an operation that is not built": 1,
    "a grant to a service": 5,
    "a request that comes from a resource": 5,
    "a session by way of SAML": 4,
}
"""Why a case is not asked -> of how many that is true."""
NOBODY = (MALFORMED, "one or more invalid principals")
OTHERWISE = {
    "documents: an empty text": ("ValidationException", "Member must have length greater than or equal to 1"),
    "principals: a user name in another case": NOBODY,
    "principals: a user with the named one's name under a path": NOBODY,
    "principals: the user where a federated user is named": NOBODY,
}
"""Cases whose key policy cannot be put, since it names nobody or is nothing -> what comes of putting it."""

PLACES = {name: place for place, name in enumerate(TABLE)}
"""Places in the table: they choose how callers come by policies, the same way each time."""


def left_out(case: Case) -> str | None:
    """Why a case is not asked, or None."""
    if case.caller.kind == "FederatedUser":
        return "a federated user"
    if (case.caller.federated_provider or "").startswith("arn:"):
        return "a session by way of SAML"
    if any(grant.grantee_service is not None for grant in case.grants):
        return "a grant to a service"
    if any(grant.constraints.source_arn for grant in case.grants) and case.values:
        return "a request that comes from a resource"
    if case.grants and case.action not in REQUESTS:
        return "a grant for an operation that is not built"
    return None


def is_simulated(case: Case) -> bool:
    """Whether the operation is not built, or its requests cannot have what the case supposes."""
    return case.action not in REQUESTS or supposed(case) is None


def kind(name: str, case: Case) -> Hashable:
    """Cases that are asked in the same way, about the same, with the same outcome."""
    given = (case.policies, case.boundary, case.session, case.grants)
    subject = name.partition(":")[0]
    return subject, case.caller.kind, case.caller.account, case.action, case.expected, tuple(map(bool, given))


def chosen(at_most: int) -> list[str]:
    """The names of the cases to ask: so many of each kind, and all that come out otherwise."""
    kinds: dict[Hashable, list[str]] = defaultdict(list)
    for name, case in TABLE.items():
        if left_out(case) is None:
            kinds[kind(name, case)].append(name)
    return [
        name for names in kinds.values() for place, name in enumerate(names) if place < at_most or name in OTHERWISE
    ]


def sharing(names: Sequence[str]) -> list[list[str]]:
    """The same names, those together that can be asked of one key; the most first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        case = TABLE[name]
        groups[(None if is_simulated(case) else key_text(case)) or name].append(name)
    return sorted(groups.values(), key=len, reverse=True)


def play(cast: Cast, groups: SimpleQueue[list[str]]) -> dict[str, tuple[str, str]]:
    """Ask what is still to be asked. Returns what came of each case."""
    came_out: dict[str, tuple[str, str]] = {}
    while True:
        try:
            names = groups.get_nowait()
        except Empty:
            return came_out
        cases = [TABLE[name] for name in names]
        try:
            outcomes = [simulate(cast, cases[0])] if is_simulated(cases[0]) else ask(cast, cases, PLACES[names[0]])
        except Exception as error:
            error.add_note(f"asking {names}")
            raise
        came_out |= zip(names, outcomes, strict=True)


def agrees(name: str, outcome: str, text: str) -> bool:
    """Whether a case came out as it should, for the reason that the table gives."""
    case = TABLE[name]
    expected, because = OTHERWISE.get(name, (case.expected, case.because.format(action=case.action)))
    if is_simulated(case):
        told = text == "explicitDeny" if because.startswith("with an explicit deny") else text != "explicitDeny"
    else:
        told = because in text and (expected != DENY or f"is not authorized to perform: {case.action} " in text)
    return outcome == expected and told


@pytest.fixture(scope="module")
def casts(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[list[Cast]]:
    data = tmp_path_factory.mktemp("table") / "data"
    prepare(data, issuer, CASTS)
    with running_server(data, workers=2) as server:
        with ThreadPoolExecutor(CASTS) as pool:
            made = list(pool.map(lambda number: Cast(server, issuer, number), range(CASTS)))
        yield made


def test_what_is_left_out_is_counted() -> None:
    reasons = Counter(reason for case in TABLE.values() if (reason := left_out(case)) is not None)
    plays = [case for case in TABLE.values() if left_out(case) is None]
    asked = [case for case in plays if not is_simulated(case)]
    assert reasons == LEFT_OUT
    assert Counter(case.expected for case in asked) == ASKED
    assert sum(bool(had.renamed) for case in asked if (had := supposed(case)) is not None) == STANDING_IN
    assert len(plays) - len(asked) == SIMULATED
    assert sum(ASKED.values()) + SIMULATED + sum(LEFT_OUT.values()) == len(TABLE)


@pytest.mark.soak
def test_every_decision_of_the_table_is_the_servers(casts: list[Cast], size: Size) -> None:
    names = chosen(size.decisions)
    groups: SimpleQueue[list[str]] = SimpleQueue()
    for group in sharing(names):
        groups.put(group)
    with ThreadPoolExecutor(CASTS) as pool:
        came_out = {
            name: told for part in pool.map(lambda cast: play(cast, groups), casts) for name, told in part.items()
        }
    assert came_out.keys() == set(names)
    print(f"\nthe decision table, by API: {dict(Counter(outcome for outcome, _ in came_out.values()))}")
    wrong = [
        f"{name}: expected {TABLE[name].expected} {TABLE[name].because}, not {outcome}: {text}"
        for name, (outcome, text) in came_out.items()
        if not agrees(name, outcome, text)
    ]
    assert not wrong, "\n".join(wrong)
