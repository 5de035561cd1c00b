"""Servers and commands with clocks that tests shift. The fixture `clock` has them shifted."""

import time
from pathlib import Path
from typing import Any, Self

from strongroom.testing.server import Server
from strongroom.testing.signed_client import SignedClient

DAY = 86_400


class ShiftedClock:
    """The clocks of the servers and commands that are started while it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = 0.0
        self.shift(0, 0)

    def shift(self, wall: float, boot: float) -> None:
        """Shift both clocks, in seconds from now as it is."""
        self.wall = wall
        written = self.path.with_suffix(".new")
        written.write_text(f"{wall} {boot}")
        written.replace(self.path)

    def client(self, server: Server, region: str | None = None) -> "ShiftedClient":
        return ShiftedClient(server, self, region)


class ShiftedClient:
    """Signs at the shifted time."""

    def __init__(self, server: Server, clock: ShiftedClock, region: str | None = None) -> None:
        self.client = SignedClient(server, region=region)
        self.clock = clock

    def call(self, operation: str, **members: object) -> dict[str, Any]:
        return self.client.call(operation, members, now=time.time() + self.clock.wall).json()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
