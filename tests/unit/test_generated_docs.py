"""The generated document says what the code can do, and no more."""

import re
from pathlib import Path

from botocore.loaders import Loader

from strongroom.model.key_states import KEY_STATES
from strongroom.operations.registry import OPERATIONS
from tools import generate_docs

MODEL_OPERATIONS = set(Loader().load_service_model("kms", "service-2")["operations"])
BUILT = {operation.name for operation in OPERATIONS.values() if operation.built}


def test_the_document_is_current() -> None:
    assert generate_docs.main(["--check"]) == 0


def test_the_registry_is_the_service_model() -> None:
    assert {name for service, name in OPERATIONS if service == "kms"} == MODEL_OPERATIONS
    assert len(MODEL_OPERATIONS) == 56


def test_every_operation_has_one_row_that_says_whether_it_is_built() -> None:
    text = generate_docs.COMPATIBILITY.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (built|missing) \|", text, re.MULTILINE)

    assert sorted(rows) == sorted((name, "built" if name in BUILT else "missing") for name in MODEL_OPERATIONS)
    assert f"{len(BUILT)} of 56 operations are built" in text


def test_an_operation_that_is_not_built_is_missing_in_the_document() -> None:
    row = next(row for row in OPERATIONS.values() if not row.built)

    assert f"| `{row.name}` | missing |" in generate_docs.document([row])
    assert "0 of 1 operations are built" in generate_docs.document([row])


def test_limits_and_key_states_are_told_of_built_operations_alone() -> None:
    assert set(generate_docs.LIMITS) <= BUILT
    assert set(KEY_STATES) <= BUILT


def test_key_states_have_the_error_where_they_refuse() -> None:
    text = generate_docs.document(list(OPERATIONS.values()))

    assert "| operation | Enabled | Disabled | PendingDeletion |" in text
    assert "| `Decrypt` | yes | `DisabledException` | `KMSInvalidStateException` |" in text


def test_an_edited_or_missing_document_is_found_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "compatibility.md"
    assert generate_docs.main(["--check"], path) == 1
    assert not path.exists()
    assert generate_docs.main([], path) == 0
    assert generate_docs.main(["--check"], path) == 0
    path.write_text(path.read_text(encoding="utf-8").replace("missing", "built", 1), encoding="utf-8")
    assert generate_docs.main(["--check"], path) == 1
