"""Compiled policies: what their statements say of a request.

AWS: "IAM JSON policy element reference". `documents.py` compiles them.
"""

from collections.abc import Iterable

from msgspec import Struct

from strongroom.authorization.conditions import Condition
from strongroom.authorization.ground import Ground, Unmet
from strongroom.authorization.patterns import Texts
from strongroom.authorization.principals import Naming, Principals
from strongroom.authorization.request import Request, Undecidable
from strongroom.model.principal import Principal

MAX_TOLD = 128
"""Characters of a Sid or a condition that an audit record tells: it is not to grow with the policy."""


MAX_UNMET = 5
"""Statements that an audit record tells as having been near, and unmet conditions of each."""

_MAX_ANSWERS = 256
"""Actions that a statement keeps its answer about. A simulation may ask about any that there could be."""


class Statement(Struct, frozen=True):
    """One compiled statement. `ground` says which it is.

    `principals` are those it names, or, if `not_principals`, those that a Deny spares; anyone in a policy that is
    attached to its principal. `actions` (in lower case) and `resources` are those meant, or all but those; `anywhere`
    says that every resource is. `answers` keeps which actions it is about: they are few, and at most `_MAX_ANSWERS`.
    """

    ground: Ground
    allow: bool
    principals: Principals
    not_principals: bool
    actions: Texts
    not_actions: bool
    resources: Texts
    not_resources: bool
    anywhere: bool
    conditions: tuple[Condition, ...]
    answers: dict[str, bool]

    def denies_to(self, principal: Principal, *, bounded: bool) -> bool:
        """Whether a Deny is meant for the caller. An account means everybody in it.

        One with NotPrincipal spares nobody who has a permissions boundary (AWS: "NotPrincipal", "Key points").
        """
        if self.not_principals:
            return bounded or not self.principals.spares(principal)
        return self.principals.naming(principal) is not Naming.NOT

    def concerns(self, request: Request) -> bool:
        """Whether the statement is about this action on this resource. Raises Undecidable."""
        about = self.answers.get(request.action)
        if about is None:
            about = self.actions.match(request.action.lower(), request) is not self.not_actions
            if len(self.answers) < _MAX_ANSWERS:
                self.answers[request.action] = about
        return about and (self.anywhere or self.resources.match(request.resource, request) is not self.not_resources)

    def applies(self, request: Request) -> bool:
        """Whether the statement has its effect on this request, if it is meant for the caller.

        One that cannot be decided does if it denies, and does not if it allows.
        """
        undecided = False
        try:
            if not self.concerns(request):
                return False
        except Undecidable:
            undecided = True
        for condition in self.conditions:
            try:
                if not condition.holds(request):
                    return False
            except Undecidable:
                undecided = True
        return not (undecided and self.allow)

    def unmet(self, request: Request) -> Unmet | None:
        """The conditions for want of which the statement does not apply; None if it is not about the request at all."""
        try:
            if not self.concerns(request):
                return None
        except Undecidable:
            return None
        unmet = [f"{one.operator} {one.name}"[:MAX_TOLD] for one in self.conditions if not _met(one, request)]
        return Unmet(self.ground.statement, self.ground.sid, tuple(unmet[:MAX_UNMET]))


def _met(condition: Condition, request: Request) -> bool:
    try:
        return condition.holds(request)
    except Undecidable:
        return False


class Policy(Struct, frozen=True):
    """A compiled policy: the statements in order, split by effect."""

    denies: tuple[Statement, ...]
    allows: tuple[Statement, ...]

    def denying(self, request: Request, *, bounded: bool) -> Statement | None:
        """The first statement that denies the request, or None. `bounded` callers have a permissions boundary."""
        principal = request.principal
        for statement in self.denies:
            if statement.denies_to(principal, bounded=bounded) and statement.applies(request):
                return statement
        return None

    def allowing(self, request: Request) -> Statement | None:
        """The first statement that allows the request, or None. For policies that are attached to their principal."""
        for statement in self.allows:
            if statement.applies(request):
                return statement
        return None

    @property
    def named(self) -> Iterable[Principals]:
        """The principals that its statements name, to be checked when it is written."""
        return [statement.principals for statement in (*self.denies, *self.allows)]
