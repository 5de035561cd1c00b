"""The column types that database systems do not share."""

from sqlalchemy import Dialect, LargeBinary, Text, TypeDecorator


class _Utf8(TypeDecorator[str | bytes]):
    """Text stored as bytes. Bytes that are not UTF-8, which we never write, are read as bytes.

    A row's code tells bytes from text: so no other bytes pass for the text that was written.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | bytes | None, _dialect: Dialect) -> bytes | None:
        """What is stored."""
        return value.encode() if isinstance(value, str) else value

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | bytes | None:
        """What was stored."""
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            return value


ANY_TEXT = Text().with_variant(_Utf8(), "postgresql")
"""Text of any characters, in the order of its UTF-8 bytes.

SQLite's TEXT is that. PostgreSQL's has no NUL, and the order of the database's locale; there the bytes are stored.
"""
