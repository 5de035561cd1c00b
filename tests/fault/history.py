"""What clients of several nodes asked and were told, and what of it cannot be true of one service.

Times are of one monotonic clock: a call was *sent* before and *answered* after whatever the service did. A call that
got no answer, or one that says it can be repeated, may have been done or not.
"""

import threading
from collections import defaultdict
from typing import Literal, NamedTuple

Outcome = Literal["done", "refused", "unknown"]


class Call(NamedTuple):
    """One call. `gate` names what decides on a use, or what a change opens or closes; `value` is what it set."""

    kind: Literal["use", "open", "close", "set", "make", "rotate"]
    gate: str
    node: str
    sent: float
    answered: float
    outcome: Outcome
    value: str = ""
    request_id: str = ""


class History:
    """The calls of all threads."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.blobs: list[tuple[str, str]] = []
        """Plaintexts and ciphertexts that were given out."""
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)

    def add_blob(self, plaintext: str, blob: str) -> None:
        with self._lock:
            self.blobs.append((plaintext, blob))

    def count(self, outcome: Outcome) -> int:
        return sum(call.outcome == outcome for call in self.calls)

    def late_uses(self, lease: float) -> list[str]:
        """Uses that succeeded, sent later than an acknowledged closing plus the lease, answered before an opening.

        Each gate is opened and closed by one thread, one call after the other.
        """
        found = []
        for gate, calls in self._by_gate().items():
            changes = sorted((call for call in calls if call.kind in ("open", "close")), key=lambda call: call.sent)
            uses = [call for call in calls if call.kind == "use" and call.outcome == "done"]
            for at, change in enumerate(changes):
                if change.kind != "close" or change.outcome != "done":
                    continue
                opened = min((later.sent for later in changes[at + 1 :] if later.kind == "open"), default=float("inf"))
                found += [
                    f"{gate} was used on {use.node} {use.sent - change.answered:.3f} s after {change.node} closed it"
                    for use in uses
                    if change.answered + lease < use.sent and use.answered < opened
                ]
        return found

    def closings(self) -> int:
        """How many closings were acknowledged, and followed by a use that was tried later than the lease."""
        return sum(call.kind == "close" and call.outcome == "done" for call in self.calls)

    def last_values(self) -> dict[str, set[str]]:
        """What each gate that is set may have now: what was acknowledged last, or what was tried after it."""
        values: dict[str, set[str]] = {}
        for gate, calls in self._by_gate().items():
            for call in sorted((call for call in calls if call.kind == "set"), key=lambda call: call.sent):
                if call.outcome == "done":
                    values[gate] = {call.value}
                elif call.outcome == "unknown":
                    values.setdefault(gate, {""}).add(call.value)
        return values

    def made(self) -> list[str]:
        """What was acknowledged to be made."""
        return [call.value for call in self.calls if call.kind == "make" and call.outcome == "done"]

    def rotations(self) -> dict[str, tuple[int, int]]:
        """How many rotations each key must have at least, and can have at most."""
        counted: dict[str, tuple[int, int]] = {}
        for gate, calls in self._by_gate().items():
            asked = [call.outcome for call in calls if call.kind == "rotate"]
            if asked:
                counted[gate] = (asked.count("done"), asked.count("done") + asked.count("unknown"))
        return counted

    def _by_gate(self) -> dict[str, list[Call]]:
        gates: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            gates[call.gate].append(call)
        return gates
