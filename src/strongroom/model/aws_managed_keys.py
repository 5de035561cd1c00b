"""AWS managed keys: which service has one, and what it may do with it (AWS: "AWS managed keys").

Each account has one for a service, in each Region: `alias/aws/s3`. It is made when it is first needed. The operator
declares services that are not in this table (`Service.protects`).
"""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from strongroom.model.arn import root_arn
from strongroom.model.principal import Service

PREFIX: Final = "alias/aws/"
"""What the aliases of AWS managed keys begin with, and no other alias."""
ROTATION_PERIOD_IN_DAYS: Final = 365

_USES: Final = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
_METADATA: Final = ("kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant")


class ManagedKey(NamedTuple):
    """A row. Its alias is `alias/aws/` and `name`, and `service` (the first word of its names) uses it.

    `title` is what people call the service, `protects` what the key is for. `grants`: the service makes grants with it.
    """

    name: str
    service: str
    title: str
    protects: str
    grants: bool = False

    @property
    def alias(self) -> str:
        """The name of the alias."""
        return PREFIX + self.name

    @property
    def description(self) -> str:
        """The description of the key."""
        return f"Default key that protects my {self.protects} when no other key is defined"

    def policy(self, account: str, region: str) -> str:
        """The policy of an account's key: for whoever calls through the service, and to look at for the account."""
        through = {
            "Sid": f"Allow access through {self.title} for all principals in the account that are authorized to use "
            f"{self.title}",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [*_USES, "kms:CreateGrant"] if self.grants else [*_USES],
            "Resource": "*",
            "Condition": {
                "StringEquals": {
                    "kms:CallerAccount": account,
                    "kms:ViaService": f"{self.service}.{region}.amazonaws.com",
                }
            },
        }
        direct = {
            "Sid": "Allow direct access to key metadata to the account",
            "Effect": "Allow",
            "Principal": {"AWS": root_arn(account)},
            "Action": [*_METADATA],
            "Resource": "*",
        }
        document = {"Version": "2012-10-17", "Id": f"auto-{self.name}-1", "Statement": [through, direct]}
        return json.dumps(document, indent=2, separators=(",", " : "))


_BUILT_IN: Final = (
    ManagedKey("acm", "acm", "ACM", "ACM private keys", grants=True),
    ManagedKey("backup", "backup", "Backup", "Backup data", grants=True),
    ManagedKey("codecommit", "codecommit", "CodeCommit", "CodeCommit repositories"),
    ManagedKey("connect", "connect", "Connect", "Connect data"),
    ManagedKey("dms", "dms", "DMS", "DMS replication instances", grants=True),
    ManagedKey("dynamodb", "dynamodb", "DynamoDB", "DynamoDB data", grants=True),
    ManagedKey("ebs", "ec2", "EBS", "EBS volumes", grants=True),
    ManagedKey("elasticfilesystem", "elasticfilesystem", "EFS", "EFS filesystems", grants=True),
    ManagedKey("es", "es", "Elasticsearch", "Elasticsearch domains", grants=True),
    ManagedKey("fsx", "fsx", "FSx", "FSx resources", grants=True),
    ManagedKey("glue", "glue", "Glue", "Glue data"),
    ManagedKey("kinesis", "kinesis", "Kinesis", "Kinesis data"),
    ManagedKey("kinesisvideo", "kinesisvideo", "Kinesis Video Streams", "Kinesis Video Streams data"),
    ManagedKey("lambda", "lambda", "Lambda", "Lambda functions", grants=True),
    ManagedKey("rds", "rds", "RDS", "RDS database volumes", grants=True),
    ManagedKey("redshift", "redshift", "Redshift", "Redshift clusters", grants=True),
    ManagedKey("s3", "s3", "S3", "S3 objects"),
    ManagedKey("secretsmanager", "secretsmanager", "Secrets Manager", "Secrets Manager data", grants=True),
    ManagedKey("sns", "sns", "SNS", "SNS data"),
    ManagedKey("sqs", "sqs", "SQS", "SQS messages"),
    ManagedKey("ssm", "ssm", "SSM", "SSM parameters"),
    ManagedKey("workspaces", "workspaces", "WorkSpaces", "WorkSpaces volumes", grants=True),
    ManagedKey("xray", "xray", "X-Ray", "X-Ray data"),
)
_BY_ALIAS: Final = {row.alias: row for row in _BUILT_IN}


def is_reserved(name: str) -> bool:
    """Whether a new AWS managed key cannot have this name, since the table has it."""
    return PREFIX + name in _BY_ALIAS


def managed_keys(services: Iterable[Service]) -> dict[str, ManagedKey]:
    """All rows by alias: those of the table, and of the services that the operator declared."""
    declared = [
        ManagedKey(service.name, service.name, service.name, service.protects, grants=True)
        for service in services
        if service.protects is not None
    ]
    return {row.alias: row for row in declared} | _BY_ALIAS
