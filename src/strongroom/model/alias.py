"""The alias: a name for a KMS key, in one account and Region."""

from functools import cached_property

from msgspec import Struct

from strongroom.model import arn


class Alias(Struct, frozen=True, dict=True):
    """An alias as stored. `name` begins with `alias/`; it stands for the key `target_key_id` of its account and Region.

    Times are seconds since the epoch.
    """

    account: str
    region: str
    name: str
    target_key_id: str
    created: float
    last_updated: float

    @cached_property
    def arn(self) -> str:
        """The alias ARN."""
        return arn.alias_arn(self.region, self.account, self.name)
