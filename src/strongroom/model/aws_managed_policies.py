"""The managed policies that AWS keeps for everybody (AWS: "AWS managed policies"): those that key management needs."""

from typing import Final

from strongroom.model.iam import ManagedPolicy, PolicyVersion

_AWS = "aws"
"""The account part of their ARNs."""


def _policy(policy_id: str, name: str, description: str, version: int, created: float, document: str) -> ManagedPolicy:
    version_id = f"v{version}"
    versions = (PolicyVersion(version_id, document, created),)
    return ManagedPolicy(
        _AWS, policy_id, name, "/", created, created, description, versions, version_id, newest_version=version
    )


_POLICIES = (
    _policy(
        "ANPAIWMBCKSKIEE64ZLYK",
        "AdministratorAccess",
        "Provides full access to AWS services and resources.",
        1,
        1423161586.0,
        """{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "*",
            "Resource": "*"
        }
    ]
}""",
    ),
    _policy(
        "ANPAJNPP7PPPPMJRV2SA4",
        "AWSKeyManagementServicePowerUser",
        "Provides access to AWS Key Management Service (KMS).",
        2,
        1488913244.0,
        """{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "kms:CreateAlias",
                "kms:CreateKey",
                "kms:DeleteAlias",
                "kms:Describe*",
                "kms:GenerateRandom",
                "kms:Get*",
                "kms:List*",
                "kms:TagResource",
                "kms:UntagResource",
                "iam:ListGroups",
                "iam:ListRoles",
                "iam:ListUsers"
            ],
            "Resource": "*"
        }
    ]
}""",
    ),
)

AWS_MANAGED_POLICIES: Final = {policy.arn: policy for policy in _POLICIES}
"""ARN -> policy."""
