"""Record Access Control Point (0x2A52): requests and answers of the profile, after GLS 1.0.1, 3.5. Pure."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple


class Op(IntEnum):
    """Op codes that the band knows."""

    REPORT = 0x01
    DELETE = 0x02
    ABORT = 0x03
    COUNT = 0x04


class Code(IntEnum):
    """Response codes."""

    SUCCESS = 0x01
    OP_NOT_SUPPORTED = 0x02
    INVALID_OPERATOR = 0x03
    OPERATOR_NOT_SUPPORTED = 0x04
    INVALID_OPERAND = 0x05
    NO_RECORDS_FOUND = 0x06
    ABORT_UNSUCCESSFUL = 0x07
    NOT_COMPLETED = 0x08
    OPERAND_NOT_SUPPORTED = 0x09


_ALL, _UP_TO, _FROM = 0x01, 0x02, 0x03
_OPERATORS: Final = range(0x01, 0x07)
_SEQUENCE_NUMBER: Final = 0x01
_SUPPORTED: Final = {Op.REPORT: (_ALL, _FROM), Op.COUNT: (_ALL, _FROM), Op.DELETE: (_UP_TO,)}


class Request(NamedTuple):
    """A procedure; `seq` is where it begins (report, count) or ends (delete)."""

    op: Op
    seq: int = 1


class Refusal(NamedTuple):
    """A request that is not one, with the op code as it came."""

    op: int
    code: Code


def parse(value: bytes) -> Request | Refusal:
    """What a gateway has written."""
    op_byte, operator, operand = value[0] if value else 0, value[1] if len(value) > 1 else 0, value[2:]
    if op_byte not in list(Op):
        return Refusal(op_byte, Code.OP_NOT_SUPPORTED)
    op = Op(op_byte)
    if op is Op.ABORT:
        if operator:
            return Refusal(op, Code.INVALID_OPERATOR)
        return Refusal(op, Code.INVALID_OPERAND) if operand else Request(op)
    if operator not in _OPERATORS:
        return Refusal(op, Code.INVALID_OPERATOR)
    if operator not in _SUPPORTED[op]:
        return Refusal(op, Code.OPERATOR_NOT_SUPPORTED)
    if operator == _ALL:
        return Refusal(op, Code.INVALID_OPERAND) if operand else Request(op)
    if operand and operand[0] != _SEQUENCE_NUMBER:
        return Refusal(op, Code.OPERAND_NOT_SUPPORTED)
    if len(operand) != 5:
        return Refusal(op, Code.INVALID_OPERAND)
    return Request(op, int.from_bytes(operand[1:], "little"))


def response(op: int, code: Code) -> bytes:
    """How a procedure ended."""
    return bytes((0x06, 0x00, op, code))


def number(records: int) -> bytes:
    """How many records there are."""
    return struct.pack("<BBI", 0x05, 0x00, records)
