import ctypes
import resource
import subprocess
import sys

import pytest

from strongroom.keystores.process import disable_core_dumps

REPORT = """
import ctypes, resource
from strongroom.keystores.process import disable_core_dumps
disable_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_core_dump_can_be_written() -> None:
    ran = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    assert ran.stdout == "(0, 0) 0\n"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def prctl(self, *_arguments: int) -> int:
            ctypes.set_errno(1)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_arguments, **_options: Refusing())
    monkeypatch.setattr(resource, "setrlimit", lambda *_arguments: None)
    with pytest.raises(PermissionError):
        disable_core_dumps()
