"""HSM key stores over tokens of SoftHSM, in this process."""

import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.keystores.cluster.store import ClusterKeyStore
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.keystores.hsm.functions import Functions
from strongroom.keystores.hsm.module import Module, open_module
from strongroom.keystores.hsm.opening import FIRST_VERSION, Hsm, Place, open_hsm, prepare_token
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.pkcs11 import SIGNATURES
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.hsm.token import Token
from strongroom.keystores.material_ids import MaterialIds
from strongroom.model.key import KeyMaterial
from strongroom.testing.softhsm import LIBRARY, PIN, SoftHsm

IDS = MaterialIds(b"i" * 32)
"""Names what is imported."""


def place_of(softhsm: SoftHsm, label: str, module: Module | None = None) -> Place:
    """A token of SoftHSM."""
    return Place(module or open_module(str(LIBRARY)), label, Pin(file=softhsm.pin_file))


def new_token(softhsm: SoftHsm) -> str:
    """Make an empty token; return its label."""
    label = f"test-{secrets.token_hex(4)}"
    softhsm.add_token(label)
    return label


@contextmanager
def logged_in(softhsm: SoftHsm, label: str | None = None, module: Module | None = None) -> Iterator[Session]:
    """A session of a token, as anybody can have it who knows the PIN."""
    place = place_of(softhsm, label or new_token(softhsm), module)
    token: Token[None] = Token(place.module, place.token, place.pin, lambda _: None, lambda *_: None)
    token.open()
    try:
        assert token.owner is not None
        yield token.owner
    finally:
        token.close()


@contextmanager
def opened_hsm(
    softhsm: SoftHsm,
    module: Module | None = None,
    allowed: Collection[str] = WEAKER_WAYS,
    label: str | None = None,
) -> Iterator[Hsm]:
    """An HSM with the domain keys of a new installation. A token is seen that was made before all are opened."""
    place = place_of(softhsm, label or new_token(softhsm), module)
    installation_id = str(uuid.uuid4())
    prepare_token(place, installation_id, allowed)
    hsm = open_hsm(place, installation_id, {FIRST_VERSION}, allowed)
    try:
        yield hsm
    finally:
        hsm.token.close()


@contextmanager
def hsm_key_store(
    softhsm: SoftHsm, module: Module | None = None, allowed: Collection[str] = WEAKER_WAYS
) -> Iterator[HsmKeyStore]:
    """A key store over such an HSM."""
    with opened_hsm(softhsm, module, allowed) as hsm:
        yield HsmKeyStore(hsm.token, hsm.can, allowed=allowed, count_use=lambda _: None, material_ids=IDS)


@contextmanager
def cluster_key_store(
    label: str,
    marker: Path,
    module: Module,
    *,
    password: str = PIN,
    count_use: Callable[[KeyMaterial], None] = lambda _: None,
) -> Iterator[ClusterKeyStore]:
    """A key store in a cluster, which a token of SoftHSM stands for. It is not opened yet."""
    store = ClusterKeyStore(
        library=LIBRARY, label=label, password=password, marker=marker, count_use=count_use, load=lambda _: module
    )
    try:
        yield store
    finally:
        store.close()


@contextmanager
def token_away(softhsm: SoftHsm, label: str) -> Iterator[None]:
    """Take a token out of SoftHSM, by its files, which hold its label, and put it back."""
    (found,) = (one for one in softhsm.tokens.iterdir() if label.encode() in (one / "token.object").read_bytes())
    away = softhsm.directory / "away"
    found.rename(away)
    try:
        yield
    finally:
        away.rename(found)


def hsm_options(softhsm: SoftHsm, label: str, allowed: Collection[str] = WEAKER_WAYS) -> list[str]:
    """The options of `strongroom init` that put an installation on a token."""
    options = ["--hsm", str(LIBRARY), "--token", label, "--pin-file", str(softhsm.pin_file)]
    return options + [option for way in allowed for option in ("--allow", way)]


Fault = Callable[[Callable[..., int], tuple[object, ...]], int]


class Faults:
    """Functions of a library, each of which can be made to fail. `calls` counts them."""

    def __init__(self, functions: Functions) -> None:
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, Fault] = {}
        self.functions = Functions({name: self._faulty(name, getattr(functions, name)) for name in SIGNATURES})

    def set(self, name: str, fault: Fault) -> None:
        """Have a function do something else from now on."""
        self._faults[name] = fault

    def fail(self, name: str, code: int, times: int = 1) -> None:
        """Have the next calls of a function give back an error, without doing anything."""
        left = [times]

        def fault(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
            if left[0] == 0:
                return call(*arguments)
            left[0] -= 1
            return code

        self.set(name, fault)

    def clear(self) -> None:
        """Have all functions do what they do."""
        self._faults.clear()

    def _faulty(self, name: str, call: Callable[..., int]) -> Callable[..., int]:
        def faulty(*arguments: object) -> int:
            self.calls[name] += 1
            fault = self._faults.get(name)
            return call(*arguments) if fault is None else fault(call, arguments)

        return faulty
