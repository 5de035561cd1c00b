"""The documents say what the code is and can do, and no more."""

import re
import shutil
from pathlib import Path

import pytest
from botocore.loaders import Loader
from tools import generate_docs

import strongroom
from strongroom.model.key_states import KEY_STATES
from strongroom.operations.registry import OPERATIONS

DOCS = generate_docs.ROOT / "docs"
COMPAT = generate_docs.ROOT / "tests" / "compat"
PACKAGE = Path(strongroom.__file__).parent
MODEL_OPERATIONS = set(Loader().load_service_model("kms", "service-2")["operations"])
BUILT = {operation.name for operation in OPERATIONS.values()}
OF_OTHERS = [operation.name for operation in OPERATIONS.values() if operation.service != "kms"]


def test_the_documents_are_current() -> None:
    assert generate_docs.main(["--check"]) == 0, "run `make docs`"


def test_the_registry_is_the_service_model() -> None:
    assert {name for service, name in OPERATIONS if service == "kms"} == MODEL_OPERATIONS
    assert len(MODEL_OPERATIONS) == 56


def test_every_operation_has_one_row_that_says_whether_it_is_built() -> None:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (built|missing) \|", text, re.MULTILINE)

    every = [*MODEL_OPERATIONS, *OF_OTHERS]
    assert sorted(rows) == sorted((name, "built" if name in BUILT else "missing") for name in every)
    assert "56 of 56 operations are built" in text


def test_an_operation_that_is_not_built_is_missing_in_the_document() -> None:
    text = generate_docs.compatibility([OPERATIONS["kms", "Encrypt"]], COMPAT)

    assert "| `Encrypt` | built |" in text
    assert "| `Decrypt` | missing |" in text
    assert "1 of 56 operations are built" in text


def test_limits_and_key_states_are_told_of_built_operations_alone() -> None:
    assert set(generate_docs.LIMITS) <= BUILT
    assert set(KEY_STATES) <= BUILT


def test_key_states_have_the_error_where_they_refuse() -> None:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")

    assert "| operation | Enabled | Disabled | PendingDeletion |" in text
    assert "| `Decrypt` | yes | `DisabledException` | `KMSInvalidStateException` |" in text


def test_every_client_is_told_of_with_its_pinned_version() -> None:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \((?:PyPI|npm)\) \| ([\d.]+) \| \S", text, re.MULTILINE)
    pinning = [*COMPAT.glob("*/requirements.txt"), *COMPAT.glob("*/package.json")]
    pins = "".join(path.read_text(encoding="utf-8") for path in pinning)

    assert len(rows) == len(pinning) == 9
    for name, version in rows:
        assert f"{name}=={version}\n" in pins or f'"{name}": "{version}"' in pins


def test_the_tree_has_every_layer_and_says_what_every_module_is_for() -> None:
    lines = [line for line in generate_docs.tree(PACKAGE).splitlines() if line != "```"]
    names = [line.split()[0] for line in lines if not line.startswith(" ")]

    assert [name.removesuffix(".py").removesuffix("/") for name in names[: len(generate_docs.layers())]] == (
        generate_docs.layers()
    )
    listed = {"migrations", "cloudtrail", "iam", "kms", "sts"}
    modules = {path.name for path in PACKAGE.rglob("*.py") if not listed & set(path.parts)}
    assert modules - {line.split()[0] for line in lines} == {"__init__.py"}
    assert all(len(line.split()) > 1 for line in lines)


@pytest.mark.parametrize("name", ["architecture.md", "compatibility.md"])
def test_an_edited_document_is_found_and_written_anew(name: str, tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    path = tmp_path / "docs" / name
    current = path.read_text(encoding="utf-8")
    path.write_text(current.replace("registry", "table").replace("| built |", "| missing |"), encoding="utf-8")

    assert generate_docs.main(["--check"], tmp_path) == 1
    assert generate_docs.main([], tmp_path) == 0
    assert generate_docs.main(["--check"], tmp_path) == 0


def test_a_missing_document_is_found_and_nothing_is_written(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "docs" / "compatibility.md").unlink()

    assert generate_docs.main(["--check"], tmp_path) == 1
    assert not (tmp_path / "docs" / "compatibility.md").exists()


def test_a_document_without_a_place_for_the_tree_is_refused() -> None:
    with pytest.raises(SystemExit):
        generate_docs.with_tree("no markers", "tree")


def test_every_test_that_the_threat_model_names_exists() -> None:
    text = (DOCS / "threat-model.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.-]+\.py|…)(?:::(\w+))?`", text)
    path = ""
    missing = []
    for given, name in named:
        path = path if given == "…" else given  # an ellipsis is the file named before
        source = generate_docs.ROOT / path
        if not source.exists() or (name and f"def {name}(" not in source.read_text(encoding="utf-8")):
            missing.append(f"{path}::{name}")
    assert len(named) > 50
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md", "docs"])
def test_links_between_documents_lead_somewhere(name: str) -> None:
    place = generate_docs.ROOT / name
    for document in place.rglob("*.md") if place.is_dir() else [place]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
