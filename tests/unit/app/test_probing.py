"""What people are told of a token, and the exit code: whether it protects anything with what is allowed."""

from collections.abc import Callable

import pytest

from strongroom import cli
from strongroom.app import hardware
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import Faults, hsm_options, new_token


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Of the library that the commands load."""
    faults = Faults(load(str(LIBRARY)))
    module = Module(faults.functions)
    monkeypatch.setattr(hardware, "open_module", lambda _: module)
    return faults


def without(*numbers: int) -> Callable[[Callable[..., int], tuple[object, ...]], int]:
    """What refuses mechanisms."""
    return lambda call, arguments: (
        0x70 if arguments[1]._obj.mechanism in numbers else call(*arguments)  # type: ignore[attr-defined]
    )


def test_a_token_that_protects_nothing_is_told_why(
    faults: Faults, softhsm: SoftHsm, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    faults.set("C_WrapKey", without(p11.CKM_AES_KEY_WRAP_KWP, p11.CKM_AES_KEY_WRAP_PAD))
    assert cli.run(["hsm", "probe", *hsm_options(softhsm, label)]) == 1
    told = capsys.readouterr()
    assert "wrapping   nothing that is proven\n" in told.out
    assert told.out.endswith("REFUSED    the token cannot be used: it lacks wrapping keys (RFC 5649 or AES-CBC)\n")
    assert told.err == ""


def test_a_weaker_way_that_all_keys_need_must_be_allowed(
    faults: Faults, softhsm: SoftHsm, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def takes_no_lists(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        types = {one.type for one in arguments[1]}  # type: ignore[attr-defined]
        return 0xD1 if p11.CKA_ALLOWED_MECHANISMS in types else call(*arguments)

    faults.set("C_CreateObject", takes_no_lists)
    assert cli.run(["hsm", "probe", *hsm_options(softhsm, label, ())]) == 1
    assert "  no-usage-limits      refused: whoever has the PIN can use " in capsys.readouterr().out
    assert cli.run(["hsm", "probe", *hsm_options(softhsm, label, ("no-usage-limits",))]) == 0
    assert "  no-usage-limits      allowed: whoever has the PIN can use " in capsys.readouterr().out


def test_a_token_that_cannot_derive_is_told_with_what_is_lost(
    faults: Faults, softhsm: SoftHsm, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    faults.fail("C_DeriveKey", 0x70, times=1_000_000)
    assert cli.run(["hsm", "probe", *hsm_options(softhsm, label, ("direct-gcm",))]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "  SYMMETRIC_DEFAULT      ENCRYPT_DECRYPT          direct-gcm: allowed" in told
    assert "  ECC_NIST_P256          KEY_AGREEMENT            not possible" in told


def test_what_of_an_import_passes_through_the_server_is_told(
    softhsm: SoftHsm, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["hsm", "probe", *hsm_options(softhsm, label, ())]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "  RSA_AES_KEY_WRAP_SHA_1                          in the HSM" in told
    assert "  RSA_AES_KEY_WRAP_SHA_256                        host-import: refused, not allowed" in told
    assert len([line for line in told if line.startswith("  host-import          refused: ")]) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the configuration names no HSM"),
        (
            ["--hsm", "/nonexistent.so", "--token", "t"],
            "--hsm goes with --token and one of --pin-file, --pin-credential",
        ),
        (["--hsm", "/nonexistent.so", "--token", "t", "--pin-environment", "P"], "cannot load the PKCS #11 library"),
    ],
)
def test_what_cannot_be_probed_is_an_error(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["hsm", "probe", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"strongroom: {told}")
