"""`wijkpols bands` in a process of its own, as the gateway meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from firmware_central import START, central_by, expected, until, within

from firmware_sim import profile
from firmware_sim.profile import Kind
from firmware_sim.recording import Recording

ROOT = Path(__file__).resolve().parents[2]


@contextlib.asynccontextmanager
async def program(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`wijkpols bands` in a process of its own, and the radio that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "firmware_sim", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        radio = json.loads(await process.stdout.readline())["radio"]
        assert json.loads(await process.stdout.readline())["event"] == "ready"
        yield process, radio
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_recordings_come_whole_over_tcp_from_another_process(tmp_path: Path, shared_data: Path):
    async def run() -> None:
        names = ("S10", "S22")
        for name in names:
            (tmp_path / f"{name}.npz").symlink_to(shared_data / "stress_predict" / f"{name}.npz")
        options = ("--replay", str(tmp_path), "--speed", "max", "--start", str(START + 7), "--exit-when-done")
        async with program(*options) as (process, radio), central_by(radio) as central:
            links = [await central.connect(address) for address in await central.hear(2)]
            by_serial = {}
            for link in links:
                await link.discover()
                by_serial[(await link.read(profile.SERIAL_NUMBER)).decode()] = link
            await asyncio.gather(*(link.subscribe() for link in links))
            await asyncio.gather(*(link.lost.wait() for link in links))
            assert process.stdout is not None
            done = json.loads(await process.stdout.readline())
            assert await process.wait() == 0
        recordings = [Recording.load(tmp_path / f"{name}.npz").placed(START) for name in names]
        assert done == {"event": "done", "bands": 2, "minutes": sum(recording.minutes for recording in recordings)}
        for i, recording in enumerate(recordings):
            frames = by_serial[f"WP-{1 + i:06d}"].frames
            assert frames == expected(recording.whole)
            minutes = {struct.unpack_from("<I", v)[0] // 60 for kind, v in frames if kind == Kind.BEAT_TIMING.value}
            assert len(minutes) == recording.minutes

    within(run())


def test_a_signal_holds_the_button_and_a_stop_outlasts_the_program(tmp_path: Path):
    async def told(radio: str) -> bytes:
        async with central_by(radio, keys=tmp_path / "keys") as central:
            (address,) = await central.hear(1)
            link = await central.connect(address)
            await link.discover()
            return await link.read(Kind.STOP.value)

    async def run() -> None:
        options = ("--synthetic", "1", "--store", str(tmp_path / "bands"))
        async with program(*options) as (process, radio):
            assert await told(radio) == profile.stop(None)
            process.send_signal(signal.SIGUSR2)
            assert process.stdout is not None
            assert json.loads(await process.stdout.readline()) == {"event": "button", "held_s": 10.0}
            assert (await told(radio))[:1] == b"\1"
        async with program(*options) as (process, radio):
            process.send_signal(signal.SIGUSR1)
            assert process.stdout is not None
            assert json.loads(await process.stdout.readline()) == {"event": "button", "held_s": 5.0}
            assert (await told(radio))[:1] == b"\1"

    within(run())


def test_a_gateway_that_was_killed_finds_its_bands_again(tmp_path: Path):
    async def run() -> None:
        keys = tmp_path / "keys"
        async with program("--synthetic", "2", "--speed", "20") as (_, radio):
            killed = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", GATEWAY, radio, keys), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent
            )
            assert killed.stdout is not None
            assert (await killed.stdout.readline()).strip() == b"reading"
            killed.kill()
            await killed.wait()
            async with central_by(radio, keys=keys) as central:
                links = [await central.connect(address) for address in await central.hear(2)]
                for link in links:
                    await link.discover()
                    await link.subscribe()
                await until(lambda: all(link.frames for link in links))

    within(run())


GATEWAY = """
import asyncio, sys
sys.path.insert(0, "../..")
from firmware_central import central_by, until
async def main():
    async with central_by(sys.argv[1], keys=sys.argv[2]) as central:
        links = [await central.connect(address) for address in await central.hear(2)]
        for link in links:
            await link.discover()
            await link.subscribe()
        await until(lambda: all(link.frames for link in links))
        print("reading", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_cleanly(signum: int):
    async def run() -> None:
        async with program("--synthetic", "3") as (process, radio), central_by(radio) as central:
            await (await central.connect_any()).discover()
            process.send_signal(signum)
            out, err = await process.communicate()
            assert process.returncode == 0
            assert (out, err) == (b"", b"")

    within(run())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "--replay"),
        (("--speed", "fast", "--synthetic", "1"), 2, "--speed"),
        (("--speed", "-1", "--synthetic", "1"), 2, "--speed"),
        (("--start", "yesterday", "--synthetic", "1"), 2, "--start"),
        (("--district", "Utrecht", "--synthetic", "1"), 2, "--district"),
        (("--radio", "usb:0", "--synthetic", "1"), 2, "radio"),
        (("--replay", "absent-folder"), 1, "absent-folder"),
        (("--radio", "unix-server:absent/hci", "--synthetic", "1"), 1, "absent/hci"),
    ],
)
def test_a_wrong_option_is_one_line_on_stderr(options: tuple[str, ...], code: int, words: str):
    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "firmware_sim", *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        out, err = await process.communicate()
        assert process.returncode == code
        assert out == b""
        assert err.count(b"\n") == 1
        assert words in err.decode()

    within(run())
