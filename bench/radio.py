"""How fast recordings go through the virtual radio: `python bench/radio.py FOLDER`.

The bands run in a process of their own, a plain Bumble central that subscribes to everything runs in this one, and the
HCI socket is between them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from firmware_central import Link, central_by  # the path is set above, so that the file can be run as it stands

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT.parent / "shared" / "data" / "stress_predict"


async def measure(folder: Path) -> None:
    bands = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "firmware_sim", "--replay", str(folder), "--speed", "max", "--exit-when-done"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert bands.stdout is not None
    radio = json.loads(await bands.stdout.readline())["radio"]
    ready = json.loads(await bands.stdout.readline())
    begun = time.perf_counter()
    async with central_by(radio) as central:
        links: list[Link] = []
        for address in await central.hear(ready["bands"]):
            link = await central.connect(address)
            await link.discover()
            links.append(link)
        connected = time.perf_counter()
        cpu = time.process_time()
        await asyncio.gather(*(link.subscribe() for link in links))
        await asyncio.gather(*(link.lost.wait() for link in links))
        took, cpu = time.perf_counter() - connected, time.process_time() - cpu
    done = json.loads(await bands.stdout.readline())
    await bands.wait()
    children = os.times()
    frames = Counter(kind for link in links for kind, _ in link.frames)
    total = sum(frames.values())
    print(
        f"{done['bands']} bands, {done['minutes']} minutes, {total} frames {dict(frames)}\n"
        f"connected and discovered in {connected - begun:.1f} s, played in {took:.1f} s: {total / took:.0f} frames/s\n"
        f"CPU: central {cpu:.1f} s ({1e6 * cpu / total:.0f} µs a frame), "
        f"bands {children.children_user + children.children_system:.1f} s with their start"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT)
    asyncio.run(measure(parser.parse_args().folder))
