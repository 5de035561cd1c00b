"""An EXTERNAL key, and what its owner does with it."""

from typing import Any

import pytest

from strongroom.errors import RequestError
from strongroom.jobs.calendar import Look
from strongroom.jobs.expiry import ExpiryJob
from strongroom.jobs.rotation import RotationJob
from strongroom.model.import_key import ImportKey
from tests.composed import Composed
from tests.importing import wrapped

ALGORITHM = "RSAES_OAEP_SHA_256"


class Importing:
    """An EXTERNAL key, with one import token for all that is done with it."""

    def __init__(self, parts: Composed, made: Any, algorithm: str) -> None:
        self.parts, self.key_id, self.arn, self.algorithm = parts, str(made.key_id), str(made.arn), algorithm
        self.parameters: Any = None

    @classmethod
    async def new(cls, parts: Composed, algorithm: str = ALGORITHM, **members: Any) -> "Importing":
        made = (await parts.ask_kms("CreateKey", Origin="EXTERNAL", **members)).key_metadata
        key = cls(parts, made, algorithm)
        key.parameters = await key.ask(
            "GetParametersForImport", WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048"
        )
        return key

    async def take(self, material: bytes, **members: Any) -> str:
        """Import material; return its id."""
        import_key = ImportKey("RSA_2048", self.algorithm, "", 0, b"", self.parameters.public_key)
        sent = {
            "ImportToken": self.parameters.import_token,
            "EncryptedKeyMaterial": wrapped(import_key, material),
            **({} if "ValidTo" in members else {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}),
            **members,
        }
        response = await self.parts.ask_kms("ImportKeyMaterial", KeyId=self.key_id, **sent)
        assert response.key_id == self.arn
        return str(response.key_material_id)

    async def ask(self, operation: str, **members: Any) -> Any:
        return await self.parts.ask_kms(operation, KeyId=self.key_id, **members)

    async def described(self) -> Any:
        return (await self.ask("DescribeKey")).key_metadata

    async def state(self) -> str:
        return str((await self.described()).key_state)

    async def materials(self) -> list[tuple[str, str, str, str | None, float | None]]:
        listed = (await self.ask("ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")).rotations
        return [
            (e.key_material_id, e.key_material_state, e.import_state, e.expiration_model, e.valid_to) for e in listed
        ]

    async def refused(self, error: type[RequestError], operation: str, **members: Any) -> str | None:
        """Have an operation refused; nothing is changed by it. Return the text."""
        before = await self.everything()
        with pytest.raises(error) as caught:
            await (self.take(**members) if operation == "take" else self.ask(operation, **members))
        assert await self.everything() == before
        return caught.value.message

    async def everything(self) -> object:
        contents = self.parts.opened.storage.load()
        return sorted(map(repr, contents.records)), [stored.number for stored in contents.records]

    async def rotate(self) -> None:
        await self.ask("RotateKeyOnDemand")
        job = RotationJob(self.parts.office, self.parts.key_store)
        assert await job.run(Look(self.parts.clock.now, None)) is None

    async def expire(self) -> None:
        assert await ExpiryJob(self.parts.office).run(Look(self.parts.clock.now, None)) is None
