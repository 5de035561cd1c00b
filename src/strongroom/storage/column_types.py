"""The column types that database systems do not share."""

from sqlalchemy import Dialect, LargeBinary, Text, TypeDecorator


class _Utf8(TypeDecorator[str]):
    """Text stored as bytes. Bytes that are not UTF-8, which we never write, are read as replacement characters."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """What is stored."""
        return None if value is None else value.encode()

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | None:
        """What was stored. A row's code does not match what was replaced."""
        return None if value is None else value.decode(errors="replace")


ANY_TEXT = Text().with_variant(_Utf8(), "postgresql")
"""Text of any characters, in the order of its UTF-8 bytes.

SQLite's TEXT is that. PostgreSQL's has no NUL, and the order of the database's locale; there the bytes are stored.
"""
