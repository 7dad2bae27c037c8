"""The band's memory as its gateway sees it: what is written to it, and the procedures of the control point."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bumble import att

from firmware_sim import racp, record
from firmware_sim.profile import STORED, Kind
from firmware_sim.racp import Code, Op, Refusal, Request
from firmware_sim.record_log import RecordLog

if TYPE_CHECKING:
    from firmware_sim.peripheral import Peripheral

_DATA_FIELD_IGNORED: Final = 0x80  # CTS 1.1, 2.1
_TIME_MAX: Final = 0xF000_0000  # unix seconds
_CURRENT_TIME: Final = struct.Struct("<H8B")
#: A report lets others go first after so many records of which nothing is sent.
_SKIPPED_MAX: Final = 64


class RecordServer:
    """Serves a RecordLog to one central at a time. `set_clock(unix_s)` is called when the time was written.

    At most two tasks: a procedure and an abort. All methods that take a written value raise att.ATT_Error.
    """

    def __init__(self, *, log: RecordLog, set_clock: Callable[[float], None]) -> None:
        self.log = log
        self._set_clock = set_clock
        self._contents = 0
        self._link = 0  # counts the links: a procedure ends with its own
        self._abort = False
        self._procedure: asyncio.Task[None] | None = None
        self._aborting: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None  # its answer is under way
        self._waiting = False  # a request waits for that
        self._deleted = asyncio.Event()
        self.records_sent = 0

    def linked(self) -> None:
        """A new link: nothing is covered yet, and what ran for the old one ends."""
        self._contents = 0
        self._link += 1

    def contents(self) -> bytes:
        """The value of Record Contents."""
        return bytes((self._contents,))

    def write_contents(self, value: bytes) -> None:
        """Which categories may be read."""
        if len(value) != 1:
            raise att.ATT_Error(att.ErrorCode.INVALID_ATTRIBUTE_LENGTH)
        if value[0] & ~record.CONTENTS_ALL:
            raise att.ATT_Error(att.ErrorCode.VALUE_NOT_ALLOWED)
        self._contents = value[0]

    def write_time(self, value: bytes) -> None:
        """Current Time: set the clock."""
        if len(value) != _CURRENT_TIME.size:
            raise att.ATT_Error(att.ErrorCode.INVALID_ATTRIBUTE_LENGTH)
        year, month, day, hour, minute, second, _weekday, fraction, _reason = _CURRENT_TIME.unpack(value)
        try:
            at = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
        except ValueError:
            at = -1.0
        if not 0 < at < _TIME_MAX:
            raise att.ATT_Error(_DATA_FIELD_IGNORED)
        self._set_clock(at + fraction / 256)

    async def write_request(self, value: bytes, peripheral: Peripheral) -> None:
        """The Record Access Control Point: start what is asked for; its answer comes as an indication.

        A central may write again as soon as it has seen an answer: its confirmation is waited for, by one at a time.
        """
        if not all(peripheral.subscribed(kind) for kind in STORED):
            raise att.ATT_Error(att.ErrorCode.CCCD_IMPROPERLY_CONFIGURED)
        asked = racp.parse(value)
        aborts = isinstance(asked, Request) and asked.op is Op.ABORT
        if self._answering is not None and not self._waiting:
            self._waiting = True
            try:
                await asyncio.wait((self._answering,))
            finally:
                self._waiting = False
        if _runs(self._aborting) or (_runs(self._procedure) and not aborts):
            raise att.ATT_Error(att.ErrorCode.PROCEDURE_ALREADY_IN_PROGRESS)
        work = self._run(asked, peripheral)
        if aborts and _runs(self._procedure):
            self._abort = True
            self._aborting = asyncio.create_task(work, name="abort")
        else:
            self._procedure = asyncio.create_task(work, name="procedure")

    async def wait_deleted(self, within_s: float) -> None:
        """Until something was deleted, or time is up."""
        self._deleted.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._deleted.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """End what runs."""
        tasks = [task for task in (self._procedure, self._aborting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, asked: Request | Refusal, peripheral: Peripheral) -> None:
        answer = await self._answer(asked, peripheral)
        if answer is None:
            return
        self._answering = asyncio.current_task()
        try:
            await peripheral.indicate(Kind.RACP, answer)
        finally:
            self._answering = None

    async def _answer(self, asked: Request | Refusal, peripheral: Peripheral) -> bytes | None:
        if isinstance(asked, Refusal):
            return racp.response(asked.op, asked.code)
        match asked.op:
            case Op.ABORT:
                return await self._end_report()
            case Op.COUNT:
                return racp.number(self.log.count(asked.seq))
            case Op.DELETE:
                gone = self.log.delete(asked.seq)
                self._deleted.set()
                return racp.response(asked.op, Code.SUCCESS if gone else Code.NO_RECORDS_FOUND)
            case Op.REPORT:
                code = await self._report(asked.seq, peripheral)
                return None if code is None else racp.response(asked.op, code)

    async def _end_report(self) -> bytes:
        if not self._abort:
            return racp.response(Op.ABORT, Code.ABORT_UNSUCCESSFUL)
        if self._procedure is not None:
            await asyncio.wait((self._procedure,))
        done, self._abort = not self._abort, False
        return racp.response(Op.ABORT, Code.ABORT_UNSUCCESSFUL if done else Code.SUCCESS)

    async def _report(self, first: int, peripheral: Peripheral) -> Code | None:
        """Send records; None when it was aborted, or its link is gone."""
        link, contents, last = self._link, self._contents, self.log.newest
        sent = skipped = 0
        while not self._abort:
            stored = self.log.next_from(first)
            if stored is None or record.seq_of(stored) > last:
                return Code.SUCCESS if sent else Code.NO_RECORDS_FOUND
            first = record.seq_of(stored) + 1
            part = record.covered(stored, contents)
            if part is None:
                skipped += 1
                if skipped % _SKIPPED_MAX == 0:
                    await asyncio.sleep(0)
                continue
            await peripheral.room()
            if link != self._link:
                return None
            if len(part) > peripheral.payload_bytes or not peripheral.notify(Kind.RECORD, part):
                return Code.NOT_COMPLETED
            sent += 1
            self.records_sent += 1
        return None


def _runs(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()
