"""`strongroom explain`: say which statement or grant decided a request."""

import argparse
import sys

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of

_POLICIES = {
    "KeyPolicy": "the key policy",
    "IdentityPolicy": "an identity-based policy of the caller",
    "PermissionsBoundary": "the caller's permissions boundary",
    "SessionPolicy": "a session policy of the caller",
    "TrustPolicy": "the role's trust policy",
}

_HIDDEN = "because the resource does not exist in this Region, no resource-based policies allow access"
"""Of the text that does not tell whether a key exists."""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("explain", help="say which statement or grant decided a request")
    add_config(parser)
    parser.add_argument("request_id", metavar="REQUEST-ID", help="the id that the answer had (x-amzn-RequestId)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what decided; exit code 1 if there is no record of the request."""
    explanation = app.explain(config_of(arguments), arguments.request_id)
    if explanation is None:
        sys.stderr.write(f"strongroom: the audit log has no record of request {arguments.request_id}\n")
        return 1
    outcome = "succeeded" if explanation.error is None else f"failed with {explanation.error}"
    print(f"{explanation.time}  {explanation.operation} by {explanation.caller} {outcome}")
    for decision in explanation.decisions:
        _print(decision)
    if not explanation.decisions:
        print(_undecided(explanation))
    return 0


def _undecided(explanation: app.Explanation) -> str:
    """What can be said of a request of which no decision was recorded."""
    message = explanation.message or ""
    if explanation.error != "AccessDenied":
        return "  It ended before anything was decided" + (f": {message}" if message else ".")
    if _HIDDEN not in message:  # the rules for services
        return f"  {message}"
    return (
        "  By another account's key, or there is no such key: which, and why, its record does not tell the caller's\n"
        "  account. The policy of such a key must allow the caller, and nothing in it deny it."
    )


def _print(decision: app.ExplainedDecision) -> None:
    verdict = "allowed" if decision.effect == "Allow" else "refused"
    if not decision.grounds:
        print(f"  {decision.action}: {verdict}: the caller is its account's root user")
    for ground, statement in decision.grounds:
        print(f"  {decision.action}: {verdict} {_reason(ground)}")
        for near in ground.nearest:
            print(f"    {_named(near)} would have, but for want of: {'; '.join(near.conditions)}")
        if statement is not None:
            print("".join(f"    {line}\n" for line in statement.splitlines()), end="")
        elif ground.policy:
            kept = ground.policy_type != "SessionPolicy"
            print("    The policy has changed since." if kept else "    Session policies are not kept.")


def _reason(ground: app.Ground) -> str:
    if ground.grant_id:
        return f"by grant {ground.grant_id}"
    policy = _POLICIES[ground.policy_type]
    if ground.effect == "NoAllow":
        return f"because nothing in {policy} allows it" + (
            ", and no grant" if ground.policy_type == "KeyPolicy" else ""
        )
    return f"by {_named(ground)} of {policy}"


def _named(statement: app.Ground | app.Unmet) -> str:
    return f"statement {statement.statement}" + (f" ({statement.sid})" if statement.sid else "")
