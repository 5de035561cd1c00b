"""What an operator is given: the example configuration has every option, and the unit hardens what it starts."""

import itertools
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from strongroom.config import Config, read_config

PACKAGING = Path(__file__).parents[2] / "packaging"
EXAMPLE = (PACKAGING / "strongroom.yaml").read_text()
UNIT = (PACKAGING / "strongroom.service").read_text()
GUIDE = (PACKAGING.parent / "docs" / "operations.md").read_text()
EVERY_SETTING = re.sub("(?m)^#(?! |$)|^#(?=  )", "", EXAMPLE)
"""The example with all settings made. No line is moved."""


def options(kind: msgspec.inspect.Type, path: str = "") -> Iterator[tuple[str, str | None]]:
    """The options of a configuration's type and what to say of each: its default, or None if it is a section."""
    if isinstance(kind, msgspec.inspect.UnionType):
        for part in kind.types:
            yield from options(part, path)
    elif isinstance(kind, msgspec.inspect.DictType):
        yield from options(kind.value_type, f"{path}.*")
    elif isinstance(kind, msgspec.inspect.StructType):
        for field in kind.fields:
            name = f"{path}.{field.encode_name}".removeprefix(".")
            yield name, told(field)
            yield from options(field.type, name)


def told(field: msgspec.inspect.Field) -> str | None:
    """How the default of an option is written; None if it is a section whose own options have them."""
    if field.required:
        return "Required."
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(default, msgspec.Struct):
        return None
    return "Default: none" if default in (None, (), {}) else f"Default: `{default}`."


OPTIONS = list(options(msgspec.inspect.type_info(Config)))
NAMES = {name for name, _ in OPTIONS}


def explanations(node: yaml.Node | None, path: str = "") -> Iterator[tuple[str, str]]:
    """The options of the example, and the comments right above each. An entry of a map is called `*`."""
    if not isinstance(node, yaml.MappingNode):
        return
    entries = any(name.startswith(f"{path}.*.") for name in NAMES)
    for key, value in node.value:
        name = f"{path}.*" if entries else f"{path}.{key.value}".removeprefix(".")
        if not entries:
            yield name, comments_above(key.start_mark.line)
        yield from explanations(value, name)


def comments_above(line: int) -> str:
    above = itertools.takewhile(re.compile(r" *# \S").match, reversed(EXAMPLE.splitlines()[:line]))
    return " ".join(reversed([comment.strip(" #") for comment in above]))


EXPLAINED = dict(explanations(yaml.compose(EVERY_SETTING)))


def test_every_option_is_in_the_example_and_nothing_else() -> None:
    assert sorted(NAMES - EXPLAINED.keys()) == [], "packaging/strongroom.yaml does not explain these options"
    assert sorted(EXPLAINED.keys() - NAMES) == [], "packaging/strongroom.yaml explains these, which are no options"
    assert len(NAMES) > 30


@pytest.mark.parametrize(("name", "default"), OPTIONS)
def test_each_is_explained_with_its_own_default(name: str, default: str | None) -> None:
    explanation = EXPLAINED.get(name, "")

    assert explanation, f"packaging/strongroom.yaml does not explain {name}"
    found = re.findall(r"Default: none|Default: `[^`]*`\.|Required\.", explanation)
    assert found == ([] if default is None else [default]), f"packaging/strongroom.yaml on {name}: {explanation}"


def test_the_example_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "strongroom.yaml").write_text(re.sub("(?m)^ *#.*\n", "", EXAMPLE))

    config = read_config(tmp_path / "strongroom.yaml")

    as_shipped = Config(data=Path("/var/lib/strongroom/data"), root_key=config.root_key)
    assert config == as_shipped
    [credential] = [word for word in settings("LoadCredential") if word.startswith("root.key:")]
    assert config.root_key == Path("/run/credentials/strongroom.service") / credential.partition(":")[0]


@pytest.mark.parametrize("pin", ["file", "credential", "environment"])
def test_every_setting_of_it_can_be_made(tmp_path: Path, pin: str) -> None:
    others = "|".join({"file", "credential", "environment"} - {pin})
    text = re.sub(f"(?m)^    ({others}): .*\n", "", EVERY_SETTING)
    (tmp_path / "strongroom.yaml").write_text(text)

    hsm = read_config(tmp_path / "strongroom.yaml").hsm

    assert hsm is not None
    assert getattr(hsm.pin, pin) is not None


def settings(name: str) -> list[str]:
    """What the unit says of a directive, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.splitlines():
        if not line.startswith("#") and "=" in line:
            key, _, value = line.partition("=")
            found[key].append(value)
    return found[name]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("User", ["strongroom"]),
        ("NoNewPrivileges", ["yes"]),
        ("CapabilityBoundingSet", [""]),
        ("AmbientCapabilities", [""]),
        ("ProtectSystem", ["strict"]),
        ("ProtectHome", ["yes"]),
        ("ProtectProc", ["invisible"]),
        ("ProtectClock", ["yes"]),
        ("ProtectKernelTunables", ["yes"]),
        ("PrivateTmp", ["yes"]),
        ("PrivateDevices", ["yes"]),
        ("MemoryDenyWriteExecute", ["yes"]),
        ("RestrictNamespaces", ["yes"]),
        ("RestrictAddressFamilies", ["AF_INET AF_INET6 AF_UNIX"]),
        ("SystemCallArchitectures", ["native"]),
        ("SystemCallFilter", ["@system-service", "~@privileged"]),
        ("LimitCORE", ["0"]),
        ("MemorySwapMax", ["0"]),
        ("StateDirectoryMode", ["0700"]),
        ("UMask", ["0077"]),
        ("LoadCredential", ["root.key:/etc/strongroom/root.key"]),
    ],
)
def test_the_unit_hardens(name: str, values: list[str]) -> None:
    assert settings(name) == values


def test_the_unit_lets_the_boots_id_be_read() -> None:
    """`strongroom.clock` reads it below /proc/sys."""
    assert settings("ProcSubset") == []


def test_haproxy_takes_what_the_guide_gives_it(tmp_path: Path) -> None:
    [block] = re.findall(r"```haproxy\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "haproxy.cfg").write_text(block)

    done = subprocess.run(["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], check=False, timeout=60)

    assert done.returncode == 0


def test_the_guide_makes_a_unit_of_the_xks_proxy_from_this_one() -> None:
    expressions = re.findall(r"-e '(s/[^']+)'", GUIDE)
    done = subprocess.run(
        ["sed", *(word for expression in expressions for word in ("-e", expression))],
        input=UNIT,
        capture_output=True,
        text=True,
        check=True,
    )

    changed = [line for line in done.stdout.splitlines() if line not in UNIT.splitlines()]
    assert changed == [
        "Description=Strongroom XKS proxy",
        "ExecStart=/opt/strongroom/bin/strongroom xks-proxy serve --config /etc/strongroom/xks-proxy.yaml",
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    # A command that is there stands for the installed one, which verify wants to find.
    (tmp_path / "strongroom.service").write_text(re.sub("(?m)^ExecStart=[^ ]+", f"ExecStart={sys.executable}", UNIT))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "strongroom.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
