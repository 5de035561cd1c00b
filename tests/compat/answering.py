"""The driver's side of `clients.Driver`, for libraries of Python. It runs in the client's environment."""

import json
import sys
from collections.abc import Callable
from typing import Any


def answer_lines(*functions: Callable[..., Any]) -> None:
    """Answer calls until standard input ends: one line `[name, arguments]` each, and one line back."""
    by_name = {function.__name__: function for function in functions}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"result": by_name[name](**arguments)}
        except Exception as error:  # noqa: BLE001 — the test judges it
            answer = {"error": type(error).__name__, "text": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
