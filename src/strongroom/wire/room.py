"""The connections that are open, and who has to leave when there is no room for more."""

from typing import Protocol


class Occupant(Protocol):
    """A connection, as far as room is concerned."""

    def leave(self) -> None:
        """Close at once."""
        ...


class Room:
    """At most `capacity` connections, each from its acceptance (before TLS) to its end.

    In a full room a newcomer takes the place of the connection that has waited longest without ever having sent a
    whole request; if there is none, of the one that has been idle longest. Whoever is being answered stays; if that
    is everybody, the newcomer is refused. Every step takes constant time, so that a crowd cannot make it slow.
    Counted are those that were `evicted` and `refused`.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.evicted = 0
        self.refused = 0
        self._inside: set[Occupant] = set()
        self._unheard: dict[Occupant, None] = {}  # in the order of their arrival
        self._idle: dict[Occupant, None] = {}  # in the order of their last activity

    def __len__(self) -> int:
        return len(self._inside)

    def enter(self, newcomer: Occupant) -> bool:
        """Take a newcomer in, in somebody's place if need be; False if all places are in use."""
        if len(self._inside) >= self.capacity:
            longest = next(iter(self._unheard or self._idle), None)
            if longest is None:
                self.refused += 1
                return False
            self.evicted += 1
            self.left(longest)
            longest.leave()
        self._inside.add(newcomer)
        self._unheard[newcomer] = None
        return True

    def busy(self, connection: Occupant) -> None:
        """Note that a connection has sent a whole request, which is being answered from now on."""
        self._unheard.pop(connection, None)
        self._idle.pop(connection, None)

    def active(self, connection: Occupant) -> None:
        """Note that a connection has just been answered, or has begun to send a further request."""
        if connection in self._inside and connection not in self._unheard:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def left(self, connection: Occupant) -> None:
        """Forget a connection that is closed. It may be forgotten already."""
        self._inside.discard(connection)
        self.busy(connection)
