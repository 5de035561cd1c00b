"""SOPS encrypts the values of a YAML file, and edits, rotates and hands over the file, with an encryption context."""

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.compat.clients import program, run

PLAIN = "user: someone\npassword: first\n"


class Sops:
    """SOPS in a folder of its own, with one encrypted file in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.file = folder / "secrets.yaml"
        self._environment = environment

    def try_to(self, *arguments: str, **more: str) -> CompletedProcess[str]:
        return run([program("sops", "sops"), *arguments], {**self._environment, **more}, self.file.parent)

    def must(self, *arguments: str, **more: str) -> str:
        done = self.try_to(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def plain(self) -> str:
        return self.must("decrypt", self.file.name)


@pytest.fixture
def sops(tmp_path: Path, environment: dict[str, str], key_arn: str) -> Sops:
    sops = Sops(tmp_path, environment)
    sops.file.write_text(PLAIN)
    sops.must("encrypt", "--in-place", "--kms", key_arn, "--encryption-context", "purpose:test", sops.file.name)
    return sops


def test_a_file_is_encrypted_and_decrypted(sops: Sops) -> None:
    encrypted = sops.file.read_text()

    assert "someone" not in encrypted
    assert "purpose: test" in encrypted
    assert sops.plain() == PLAIN


def test_a_file_is_edited(sops: Sops) -> None:
    sops.must("edit", sops.file.name, EDITOR="sed -i s/first/second/")
    assert sops.plain() == PLAIN.replace("first", "second")

    sops.must("set", sops.file.name, '["password"]', '"third"')
    assert sops.plain() == PLAIN.replace("first", "third")


def test_another_encryption_context_is_refused(sops: Sops) -> None:
    encrypted = sops.file.read_text()
    sops.file.write_text(encrypted.replace("purpose: test", "purpose: other"))

    refused = sops.try_to("decrypt", sops.file.name)
    assert refused.returncode != 0
    assert "InvalidCiphertextException" in refused.stderr
    assert refused.stdout == ""


def test_a_key_that_does_not_exist_is_refused(sops: Sops, key_arn: str) -> None:
    missing = key_arn.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"
    sops.file.write_text(PLAIN)

    refused = sops.try_to("encrypt", "--kms", missing, sops.file.name)
    assert refused.returncode != 0
    assert "NotFoundException" in refused.stderr


def test_the_data_key_is_rotated_and_a_second_key_added(sops: Sops, key_arn: str, other_key_arn: str) -> None:
    before = wrapped_data_keys(sops)
    sops.must("rotate", "--in-place", "--add-kms", other_key_arn, sops.file.name)

    after = wrapped_data_keys(sops)
    assert len(after) == 2
    assert before.isdisjoint(after)
    assert sops.plain() == PLAIN


def test_the_file_is_handed_over_to_another_key(sops: Sops, key_arn: str, other_key_arn: str) -> None:
    (sops.file.parent / ".sops.yaml").write_text(f"creation_rules: [{{kms: '{other_key_arn}'}}]\n")
    sops.must("updatekeys", "--yes", sops.file.name)

    encrypted = sops.file.read_text()
    assert other_key_arn in encrypted
    assert key_arn not in encrypted
    assert sops.plain() == PLAIN


def test_a_key_is_named_by_an_alias(sops: Sops, kms: Any, key_arn: str) -> None:
    kms.create_alias(AliasName="alias/sops", TargetKeyId=key_arn)
    alias_arn = key_arn.rpartition(":")[0] + ":alias/sops"
    sops.file.write_text(PLAIN)

    sops.must("encrypt", "--in-place", "--kms", alias_arn, sops.file.name)
    assert alias_arn in sops.file.read_text()
    assert sops.plain() == PLAIN


def wrapped_data_keys(sops: Sops) -> set[str]:
    lines = sops.file.read_text().splitlines()
    return {line for line in lines if line.strip().startswith("enc: ")}
