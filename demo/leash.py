"""A part in a process of its own that ends with the demonstration, however that ends.

Run as `python -m demo.leash PART …`: the parent holds the other end of standard input; when it closes, even by
`kill -9`, this process is told to end as by Ctrl-C's gentler sister, SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path


def main() -> int:
    """Run one part of the front door, or the demonstration's player, on a leash."""
    threading.Thread(target=_end_with_the_parent, name="leash", daemon=True).start()
    # Ctrl-C reaches every process of the terminal; the parent decides in which order they end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    words = sys.argv[1:]
    if words[:1] == ["player"]:
        from demo.player import main as player

        return player(Path(words[1]))
    # The front door is above this package in the layers; it is run here, not used.
    from importlib import import_module

    return int(import_module("wijkpols").main(words))


def _end_with_the_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
