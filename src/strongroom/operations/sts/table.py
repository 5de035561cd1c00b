"""The operations of STS, one row each."""

from strongroom.operations.logged import every_member, every_member_of_response
from strongroom.operations.operation import Operation
from strongroom.operations.sts import caller_identity, sessions

BUILT = (
    Operation(
        name="AssumeRole",
        service="sts",
        targets=sessions.assume_role_targets,
        run=sessions.assume_role,
        logged=every_member,
        logged_response=every_member_of_response,
    ),
    Operation(
        name="AssumeRoleWithWebIdentity",
        service="sts",
        by_web_identity=True,
        targets=sessions.assume_role_with_web_identity_targets,
        run=sessions.assume_role_with_web_identity,
        logged=every_member,
        logged_response=every_member_of_response,
    ),
    Operation(
        name="GetCallerIdentity",
        service="sts",
        targets=caller_identity.get_caller_identity_targets,
        run=caller_identity.get_caller_identity,
    ),
    Operation(
        name="GetSessionToken",
        service="sts",
        targets=sessions.get_session_token_targets,
        run=sessions.get_session_token,
        logged=every_member,
        logged_response=every_member_of_response,
    ),
)
