"""The checker itself: it finds what is wrong, and nothing else."""

from tests.fault.history import Call, History


def history(*calls: Call) -> History:
    made = History()
    for call in calls:
        made.add(call)
    return made


def call(kind: str, sent: float, answered: float, outcome: str = "done", value: str = "") -> Call:
    return Call(kind, "gate", "a", sent, answered, outcome, value)  # type: ignore[arg-type]


def test_a_use_after_the_lease_is_found() -> None:
    assert history(call("close", 0.0, 1.0), call("use", 2.1, 2.2)).late_uses(1.0) == [
        "gate was used on a 1.100 s after a closed it"
    ]


def test_a_use_that_may_have_been_allowed_is_not_found() -> None:
    within = history(call("close", 0.0, 1.0), call("use", 1.9, 2.5))
    reopened = history(call("close", 0.0, 1.0), call("use", 2.1, 2.5), call("open", 2.4, 2.6))
    unknown = history(call("close", 0.0, 1.0, "unknown"), call("use", 2.1, 2.5))
    refused = history(call("close", 0.0, 1.0), call("use", 2.1, 2.5, "refused"))
    assert [one.late_uses(1.0) for one in (within, reopened, unknown, refused)] == [[], [], [], []]


def test_the_last_value_is_the_one_that_was_acknowledged_or_one_that_was_tried_since() -> None:
    calls = [call("set", 0, 1, "unknown", "a"), call("set", 2, 3, "done", "b"), call("set", 4, 5, "unknown", "c")]
    assert history(*calls).last_values() == {"gate": {"b", "c"}}
    assert history(calls[0]).last_values() == {"gate": {"", "a"}}


def test_rotations_are_counted() -> None:
    calls = [call("rotate", 0, 1), call("rotate", 2, 3, "unknown"), call("rotate", 4, 5, "refused")]
    assert history(*calls).rotations() == {"gate": (1, 2)}
