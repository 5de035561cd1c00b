"""How much the long tests do: `make test` takes SMALL, `make soak` SOAK. The `size` fixture chooses."""

from typing import NamedTuple


class Size(NamedTuple):
    """Counts of the long tests."""

    data_keys: int
    kills: int
    rounds: int
    fuzz_requests: int
    simulated_policies: int
    decisions: int
    """Cases of the decision table of each kind."""


SMALL = Size(data_keys=100, kills=3, rounds=40, fuzz_requests=2_000, simulated_policies=3_000, decisions=1)
SOAK = Size(data_keys=1_000, kills=20, rounds=1_000, fuzz_requests=20_000, simulated_policies=100_000, decisions=1_000)
