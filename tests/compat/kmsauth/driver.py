"""kmsauth: services that know each other by tokens which KMS encrypted for them."""

import os
from typing import Any

from kmsauth import KMSTokenGenerator, KMSTokenValidator

from tests.compat.answering import answer_lines

REGION = os.environ["AWS_REGION"]


def generate(auth_key: str, context: dict[str, str]) -> tuple[str, str]:
    """The user name and the token that a service sends along."""
    generator = KMSTokenGenerator(auth_key, context, REGION, token_version=2)
    return generator.get_username(), generator.get_token().decode()


def decrypt(auth_key: str, service: str, username: str, token: str) -> dict[str, Any]:
    """What a service learns of a token that it was sent."""
    validator = KMSTokenValidator([auth_key], [auth_key], service, REGION)
    found: dict[str, Any] = validator.decrypt_token(username, token)
    return found


if __name__ == "__main__":
    answer_lines(generate, decrypt)
