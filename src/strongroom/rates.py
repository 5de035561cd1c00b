"""How many requests a second are taken: a bucket for each name, which holds what its rate gives in a second."""

from strongroom.errors import Throttling


class Rates:
    """The buckets of one process. For one event loop. Names are few: they are not forgotten."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, rate: int, now: float) -> None:
        """Take one of the `rate` requests a second of a name at `now` (seconds). Raises Throttling if none is left."""
        level, since = self._buckets.get(name, (float(rate), now))
        level = min(float(rate), level + max(0.0, now - since) * rate)
        if level < 1:
            self._buckets[name] = (level, now)
            raise Throttling("Rate exceeded")
        self._buckets[name] = (level - 1, now)
