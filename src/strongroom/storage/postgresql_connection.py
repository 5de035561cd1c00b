"""A connection to PostgreSQL that does not wait for ever: a server that hangs gives neither an answer nor an error."""

from typing import Any, TypeVar

import psycopg
from psycopg.errors import _WaitTimeout  # what psycopg raises for its own timeouts, and gives no other name

T = TypeVar("T")

ANSWER_SECONDS = 10.0
"""How long a statement may take, unless it is known to take longer."""


class PatientConnection(psycopg.Connection[Any]):
    """Psycopg's connection, with an end to each wait. `patience` is in seconds; None waits for ever."""

    patience: float | None = ANSWER_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ANN401 — psycopg's
        """Wait for the server, as psycopg does. If it takes too long the connection is closed: OperationalError."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from None
