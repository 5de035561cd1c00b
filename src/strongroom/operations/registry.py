"""Every operation, one row each: the table of contents.

A row says what it takes and gives, what it acts on, and what runs. `docs/compatibility.md` is generated from it, and a
test compares it with botocore's service model.
"""

from strongroom.errors import UnknownOperation
from strongroom.messages.query import VERSIONS, unknown_operation
from strongroom.operations.cloudtrail.table import BUILT as CLOUDTRAIL
from strongroom.operations.iam.table import BUILT as IAM
from strongroom.operations.kms.table import BUILT as KMS
from strongroom.operations.operation import Operation
from strongroom.operations.sts.table import BUILT as STS
from strongroom.operations.xks.table import BUILT as XKS

OPERATIONS: dict[tuple[str, str], Operation] = {
    (operation.service, operation.name): operation for operation in (*KMS, *IAM, *STS, *CLOUDTRAIL, *XKS)
}
"""(service, operation name) -> row."""


def find_operation(service: str, name: str | None) -> Operation:
    """Step 2 of the order of checks. Raises UnknownOperation."""
    operation = OPERATIONS.get((service, name or ""))
    if operation is None:
        raise unknown_operation(name, VERSIONS[service]) if service in VERSIONS else UnknownOperation()
    return operation
