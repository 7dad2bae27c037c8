"""`python -m firmware_sim`: the bands alone, where the front door is not installed."""

from __future__ import annotations

import argparse

from firmware_sim.app import add_arguments, run

_parser = argparse.ArgumentParser(prog="wijkpols bands", description="Simulated wristbands on a virtual radio.")
add_arguments(_parser)
raise SystemExit(run(_parser.parse_args()))
