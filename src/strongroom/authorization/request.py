"""What is asked of the decision."""

from collections.abc import Mapping
from typing import Protocol

from strongroom.model.grant import GrantConstraints
from strongroom.model.principal import Principal

Values = tuple[str, ...]
"""The values of a condition key in a request: one, or for a multivalued key any number."""


class Undecidable(Exception):
    """A condition cannot be decided for this request: an Allow that needs it allows nothing, a Deny denies."""


class Request(Protocol):
    """One action of one principal on one resource.

    `resource` is the ARN of a key or an alias, or `*` for an action on neither. `encryption_context` is there where the
    action is a cryptographic operation with a symmetric key (empty if the request has none), None elsewhere.
    `proposed` is what CreateGrant asks for: the operations and the constraints of the grant to make.
    """

    @property
    def principal(self) -> Principal: ...  # noqa: D102 — the class says what it is
    @property
    def action(self) -> str: ...  # noqa: D102
    @property
    def resource(self) -> str: ...  # noqa: D102
    @property
    def encryption_context(self) -> Mapping[str, str] | None: ...  # noqa: D102
    @property
    def proposed(self) -> tuple[frozenset[str], GrantConstraints] | None: ...  # noqa: D102

    def values(self, name: str) -> Values | None:
        """The values of a condition key, by its lower-case name; None if the request has no such key.

        Raises Undecidable if the request has it in a way that two readers could take differently.
        """
