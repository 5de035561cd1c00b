"""The commands of the guides, as they stand, with the AWS CLI."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from strongroom.testing.server import Server
from tests.e2e.aws_cli import AWS, run

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"


def commands(guide: str) -> str:
    """All commands of a guide, one after the other."""
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 1
    return "\n".join(blocks)


def test_importing_key_material(server: Server, tmp_path: Path) -> None:
    last = "aws kms describe-key --key-id $KEY --query '[KeyMetadata.KeyState, KeyMetadata.ExpirationModel]'"
    told = run(server, f"set -eu; cd {tmp_path}; {{ {commands('import-key-material')} }} > /dev/null; {last}")
    assert json.loads(told) == ["Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE"]


def test_a_key_in_several_regions(server: Server, tmp_path: Path) -> None:
    last = "aws kms describe-key --key-id $KEY --region eu-west-1 --query KeyMetadata.KeyState"
    told = run(server, f"set -eu; cd {tmp_path}; {commands('multi-region-keys')}{last}")
    assert "YSBzZWNyZXQ=" in told.split()
    assert '"MultiRegionKeyType": "REPLICA"' in told
    assert '"KeyState": "PendingReplicaDeletion"' in told
    assert told.split()[-1] == '"Enabled"'


def test_rotating_keys(server: Server, tmp_path: Path) -> None:
    told = run(server, f"set -eu; cd {tmp_path}; {commands('rotate-keys')}")
    assert told.split()[-2:] == ["YSBzZWNyZXQ="] * 2
    assert '"KeyRotationEnabled": true' in told
    assert '"RotationType": "ON_DEMAND"' in told
    assert '"KeyMaterialState": "NON_CURRENT"' in told


def test_backing_up_and_restoring(tmp_path: Path) -> None:
    """The drill begins with an installation of its own, and ends what it began."""
    ours = tmp_path / "bin" / "strongroom"
    ours.parent.mkdir()
    ours.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m strongroom "$@"\n')
    ours.chmod(0o755)
    at_the_end = "trap 'kill -KILL $(jobs -p) 2> /dev/null || true' EXIT"
    script = f"set -eu; {at_the_end}\n{commands('back-up-and-restore')}"
    done = subprocess.run(
        ["bash", "-c", script.replace("aws ", f"{AWS} ")],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "PATH": f"{ours.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"schema":"' in done.stdout
    assert re.search(r"^LEFT   change \d+, .*CreateKey", done.stdout, re.MULTILINE)
    assert "WRONG" not in done.stdout
    assert done.stdout.endswith('a secret"PendingDeletion"\n')
