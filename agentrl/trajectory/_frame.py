"""The frame around everything AgentRL writes: magic, kind, format version, length and checksum, then msgpack.

    offset  bytes  field
    0       3      magic "ART"
    3       1      kind of the content, one ASCII letter
    4       2      format version, little-endian
    6       4      length of the body, little-endian
    10      4      CRC-32 of the body, little-endian
    14      …      body: one msgpack value

Nothing is unpickled, and the limits below bound what a stranger's bytes can cost.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgpack
import numpy as np

from agentrl.errors import ProtocolError

MAGIC = b"ART"
FORMAT_VERSION = 1
"""Version of the binary format. A reader refuses what is newer than itself."""
MAX_BYTES = 256 * 1024 * 1024
"""Largest body, in bytes; a 100,000-token trajectory takes about 2 MB."""
MAX_ITEMS = 1 << 16
"""Most items of one list or mapping: spans, turns, keys."""

_HEADER = struct.Struct("<3scHII")
_BIG_INTEGER = 1


def seal(kind: bytes, body: Any, name: str) -> bytes:
    """Return `body` as framed bytes.

    Args:
        kind: One letter that says what the body is.
        body: Value of msgpack's types; numpy scalars become Python's.
        name: What it is, for messages.

    Raises:
        ProtocolError: The body has a value that msgpack cannot hold, or is too large.
    """
    try:
        packed: bytes = msgpack.packb(body, default=_pack_other, unicode_errors="surrogatepass")
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"cannot encode {name}: {error}") from error
    if len(packed) > MAX_BYTES:
        raise ProtocolError(
            f"cannot encode {name}: {len(packed)} bytes are more than the limit of {MAX_BYTES}; "
            "shorten its observations or lower the limit on turns"
        )
    return _HEADER.pack(MAGIC, kind, FORMAT_VERSION, len(packed), zlib.crc32(packed)) + packed


def unseal(kind: bytes, data: bytes, name: str) -> Any:
    """Return the body of framed bytes.

    Raises:
        ProtocolError: The bytes are foreign, of a newer version, of another kind, truncated, damaged or too large.
    """
    if len(data) < _HEADER.size:
        raise ProtocolError(
            f"cannot decode {name}: {len(data)} bytes, but the header alone has {_HEADER.size}; the message is "
            "truncated, have it sent again"
        )
    magic, found_kind, version, length, checksum = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ProtocolError(
            f"cannot decode {name}: it begins with {bytes(data[:3])!r}, expected {MAGIC!r}; these bytes were not "
            "written by AgentRL, check the topic or file they came from"
        )
    if not 1 <= version <= FORMAT_VERSION:
        raise ProtocolError(
            f"cannot decode {name}: format version {version}, this AgentRL reads 1 to {FORMAT_VERSION}; "
            "upgrade AgentRL on this side to the version that wrote it"
        )
    if found_kind != kind:
        raise ProtocolError(
            f"cannot decode {name}: the content is of kind {found_kind!r}, expected {kind!r}; check what was sent here"
        )
    if length > MAX_BYTES:
        raise ProtocolError(f"cannot decode {name}: it claims {length} bytes, the limit is {MAX_BYTES}; refused")
    body = memoryview(data)[_HEADER.size :]
    if len(body) != length:
        state = "truncated" if len(body) < length else "followed by other bytes"
        raise ProtocolError(
            f"cannot decode {name}: the body has {len(body)} bytes, the header says {length}; it is {state}, "
            "have it sent again"
        )
    if zlib.crc32(body) != checksum:
        raise ProtocolError(
            f"cannot decode {name}: its checksum does not match, bytes were damaged; have it sent again"
        )
    return _unpack(body, name)


def _unpack(body: memoryview, name: str) -> Any:
    try:
        return msgpack.unpackb(
            body,
            ext_hook=_unpack_other,
            unicode_errors="surrogatepass",
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )
    except ProtocolError:
        raise
    # ValueError covers msgpack's own errors and bad UTF-8; TypeError an unhashable key; the rest bad timestamps.
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        detail = str(error) or type(error).__name__
        raise ProtocolError(f"cannot decode {name}: not valid msgpack within the limits ({detail})") from error


def _pack_other(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int):  # beyond 64 bits: what a policy writes into JSON has no bound
        return msgpack.ExtType(_BIG_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    raise TypeError(f"a value of type {type(value).__qualname__} is not one of JSON's")


def _unpack_other(code: int, data: bytes) -> int:
    if code != _BIG_INTEGER:
        raise ProtocolError(f"msgpack extension type {code} is unknown; expected only {_BIG_INTEGER} (a large integer)")
    return int.from_bytes(data, "little", signed=True)
