"""The lines of Bluetooth in the how-to pages, taken out of them and typed: they say what the pages say they do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from bleak.exc import BleakError
from firmware_central import until
from house import House, restart_bluetoothd
from installed import ROOT
from strap import strap_on

from gateway.bluez_bonds import BluezBonds
from gateway.link import RadioLost

HOW_TO: Final = ROOT / "docs" / "how-to"
ON_A_PI: Final = "build-a-gateway-on-a-raspberry-pi.md"
ON_PAGE: Final = "AA:BB:CC:DD:EE:FF", "HR-0001"
SAYS_S: Final = 30.0
#: Page, what is typed, and what it must say; ADDRESS is a strap's that is beside it.
LINES: Final = (
    (ON_A_PI, "bluetoothctl show", "Controller "),
    (ON_A_PI, "bluetoothctl scan le", "Device ADDRESS"),
    (ON_A_PI, "sudo dmesg | grep -i bluetooth", "Bluetooth: MGMT ver"),
    ("add-an-adapter.md", "hciconfig", "hci0:"),
)


async def the_lines_of_the_how_tos(house: House) -> None:
    address, serial = ON_PAGE
    await restart_bluetoothd(empty=True)  # `select-attribute` takes the first one of all devices that BlueZ knows
    await adapter_known()
    async with strap_on(house.bands.link, serial, second_s=1, passed=lambda: None) as strap:
        shown = strap.static_address.to_string(False)
        for page, line, said in LINES:
            assert f"`{line}`" in (HOW_TO / page).read_text().replace("\\|", "|"), (page, line)
            async with Terminal.on(line.replace("sudo ", "")) as terminal:
                await terminal.says(said.replace("ADDRESS", shown))
        first, *lines = session((HOW_TO / "use-an-ordinary-heart-rate-strap.md").read_text().replace(address, shown))
        async with Terminal.on(first[0]) as terminal:
            for line, says in lines:
                terminal.type(line)
                for said in says:
                    await terminal.says(said)
            await terminal.ended()
        await until(lambda: not strap.connections)  # a gateway would not hear it else


async def adapter_known() -> None:
    """Until BlueZ has hci0, and it can be opened."""
    known = False
    while not known:
        await asyncio.sleep(0.2)
        with contextlib.suppress(BleakError):
            (await BluezBonds.open("hci0")).close()
            known = True


async def a_blocked_adapter_is_told_of(house: House) -> None:
    """As build-a-gateway-on-a-raspberry-pi.md tells of it."""
    await adapter_known()
    block(True)
    with pytest.raises(RadioLost, match=r"Set failed.*rfkill"):
        async with house.link():
            pass
    block(False)
    await adapter_known()  # BlueZ switches it on by itself, and is busy with that for a moment


def block(blocked: bool) -> None:
    """As `rfkill block bluetooth` and `unblock`."""
    (switch,) = Path("/sys/class/rfkill").glob("*/soft")
    switch.write_text(str(int(blocked)))


def session(page: str) -> list[tuple[str, list[str]]]:
    """The lines of the page that are typed, from `bluetoothctl` to `quit`, and what is quoted behind `#` of each."""
    found = re.search(r"^    bluetoothctl\n(?:    .*\n)*?    quit$", page, re.MULTILINE)
    assert found is not None, page
    halves = [line.strip().partition("#") for line in found[0].splitlines()]
    return [(line.strip(), re.findall('"(.+?)"', said)) for line, _, said in halves]


class Terminal:
    """A command that somebody typed in a terminal, where it tells at once what it says."""

    def __init__(self, process: asyncio.subprocess.Process, end: int) -> None:
        self.said = ""
        self._new = ""  # since the last line that was typed
        self._process = process
        self._end = end
        asyncio.get_running_loop().add_reader(end, self._read)

    @classmethod
    @asynccontextmanager
    async def on(cls, command: str) -> AsyncIterator[Terminal]:
        end, theirs = pty.openpty()
        process = await asyncio.create_subprocess_shell(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        terminal = cls(process, end)
        try:
            yield terminal
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it may have ended since, unknown to this loop
                    os.killpg(process.pid, signal.SIGTERM)
                await process.wait()
            asyncio.get_running_loop().remove_reader(end)
            os.close(end)

    def type(self, line: str) -> None:
        self._new = ""
        os.write(self._end, f"{line}\n".encode())

    async def says(self, what: str) -> None:
        try:
            async with asyncio.timeout(SAYS_S):
                await until(lambda: what in self._new)
        except TimeoutError:
            raise AssertionError(f"{what!r} is not in what was said: {self._new}") from None

    async def ended(self) -> None:
        await self._process.wait()

    def _read(self) -> None:
        try:
            read = os.read(self._end, 65536)
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._end)
            return
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x01\x02]", "", read.decode(errors="replace"))
        self.said += text
        self._new += text
