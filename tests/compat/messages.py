"""Messages of the AWS Encryption SDKs, which carry their encryption context in the clear."""

import base64

CONTEXT = {"tenant": "tenant-a", "purpose": "test"}


def of_another_tenant(message: str) -> str:
    """The message with another tenant in its encryption context."""
    raw = base64.b64decode(message)
    assert raw.count(b"tenant-a") == 1
    return base64.b64encode(raw.replace(b"tenant-a", b"tenant-b")).decode()
