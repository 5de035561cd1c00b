"""An account whose identities call IAM and STS, through a pipeline over real parts."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from strongroom.errors import RequestError, code_of
from strongroom.model.exchange import Answer, Incoming
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from tests.composed import NOW, Composed, composed, root_credential

ACCOUNT = "111122223333"
ARN = f"arn:aws:iam::{ACCOUNT}:"
POWER_USER = "arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"
"""A managed policy that AWS has."""


def document(
    action: str | list[str] = "kms:*", resource: str | list[str] = "*", effect: str = "Allow", **members: Any
) -> str:
    """An identity-based policy of one statement."""
    statement = {"Effect": effect, "Action": action, "Resource": resource} | members
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}],
    }
)


class Account:
    """The account, as somebody calls it: at first its root user."""

    def __init__(self, runner: asyncio.Runner, parts: Composed) -> None:
        self.parts = parts
        self._runner = runner
        self._caller = runner.run(_root_key(parts))
        self._numbers = count()

    def by(self, caller: Credential) -> "Account":
        """The account as another calls it."""
        other = copy(self)
        other._caller = caller
        return other

    def name(self, prefix: str) -> str:
        """A name that no test has used, after all those before."""
        return f"{prefix}-{next(self._numbers):04}"

    def call(self, name: str, /, *, service: str = "iam", **members: Any) -> Any:
        """The response of an operation. Raises its RequestError."""
        answer = self._runner.run(self._answer(name, service, members))
        if answer.error is not None:
            raise answer.error
        return answer.response

    async def _answer(self, name: str, service: str, members: dict[str, Any]) -> Answer:
        form = urlencode({"Action": name, **dict(_pairs("", members))}).encode()
        headers = [(b"host", b"localhost")]
        signed = SignedRequest("POST", b"/", b"", headers)
        headers += sign(signed, self._caller, region="us-east-1", service=service, now=NOW, body=form)
        incoming = Incoming("POST", b"/", b"", headers, form, "192.0.2.1")
        return await self.parts.pipeline.answer(incoming, service, name)

    def meanwhile(self, monkeypatch: pytest.MonkeyPatch, name: str, /, **members: Any) -> None:
        """Have another call come between the decision of the next change and its commit."""
        storage, loop = self.parts.opened.storage, self._runner.get_loop()
        commit = storage.commit

        def commit_late(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(storage, "commit", commit)
            other = asyncio.run_coroutine_threadsafe(self._answer(name, "iam", members), loop).result()
            assert other.error is None, other.error
            return commit(*arguments, **options)

        monkeypatch.setattr(storage, "commit", commit_late)

    def refusal(self, name: str, /, **members: Any) -> tuple[str, str | None]:
        """The code and the text that an operation is refused with."""
        with pytest.raises(RequestError) as caught:
            self.call(name, **members)
        return code_of(caught.value, "iam"), caught.value.message

    def user(self, name: str, *policies: str, **members: Any) -> Credential:
        """Make a user with inline policies; its access key."""
        self.call("CreateUser", UserName=name, **members)
        for number, policy in enumerate(policies):
            self.call("PutUserPolicy", UserName=name, PolicyName=f"p{number}", PolicyDocument=policy)
        return self.key_of(name)

    def key_of(self, user_name: str) -> Credential:
        """A new access key of a user."""
        key = self.call("CreateAccessKey", UserName=user_name).access_key
        return Credential(key.access_key_id, key.secret_access_key)

    def pages(self, name: str, member: str, **members: Any) -> list[Any]:
        """All pages of a list."""
        pages = [self.call(name, **members)]
        while pages[-1].is_truncated:
            pages.append(self.call(name, Marker=pages[-1].marker, **members))
        assert pages[-1].marker is None
        return [getattr(page, member) for page in pages]


async def _root_key(parts: Composed) -> Credential:
    held = root_credential(parts.state)
    return Credential(held.identity.principal.access_key_id, held.secret)


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A member as the pairs of a form."""
    match value:
        case dict():
            for key, one in value.items():
                yield from _pairs(f"{name}.{key}" if name else key, one)
        case list():
            for place, one in enumerate(value, 1):
                yield from _pairs(f"{name}.member.{place}", one)
        case _:
            yield name, str(value)


@contextmanager
def opened_account(data: Path) -> Iterator[Account]:
    """The account of an installation."""
    with asyncio.Runner() as runner:
        context = composed(data)
        parts = runner.run(context.__aenter__())
        yield Account(runner, parts)
        assert parts.fatal == []
        runner.run(context.__aexit__(None, None, None))
