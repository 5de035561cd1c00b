"""GetCallerIdentity."""

from strongroom.messages.sts.caller_identity import GetCallerIdentityRequest, GetCallerIdentityResponse
from strongroom.operations.call import Call
from strongroom.operations.targets import AccountTarget


def get_caller_identity_targets(_request: GetCallerIdentityRequest) -> list[AccountTarget]:
    """Nothing: no permission is needed, and none can be denied."""
    return []


def get_caller_identity(call: Call, _request: GetCallerIdentityRequest, _nothing: object) -> GetCallerIdentityResponse:
    """AWS: GetCallerIdentity."""
    principal = call.principal
    return GetCallerIdentityResponse(user_id=principal.principal_id, account=principal.account, arn=principal.arn)
