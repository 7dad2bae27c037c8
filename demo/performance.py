"""One demonstration from enrolment to release: who takes part, what is played, what is heard, what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from contracts.district import District
from contracts.ports import Fault, SystemClock, UsageFault
from demo import timeline
from demo.children import Child
from demo.city import Volunteer, everything, population, serial, spread
from demo.enrol import enrol
from demo.guest import Guest
from demo.house import House
from demo.player import Plan, Wearer
from demo.progress import phase
from demo.radio import GATEWAY, Radio, RadioPlan
from demo.summary import Minutes, Readings, Summary, add_counts, summarise
from firmware_sim.recording import Recording, RecordingFault, load_folder

#: So many invented volunteers wear their band within the gateway's reach, for so many minutes in `--once`.
RADIO_BANDS: Final = 4
RADIO_MINUTES: Final = 10
_SETTLE_S_MAX: Final = 120.0
_LIVE_MINUTES: Final = 60 * 24 * 7
_PLAY_S_MAX: Final = 3600.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    folder: Path
    days: int
    volunteers: int
    seed: int
    replay: Path | None
    speed: float
    district: str | None
    port: int
    broker_url: str | None
    store_url: str | None
    quiet: bool


class Kept(msgspec.Struct, kw_only=True):
    """What a data folder remembers, so that a second start goes on (`demo.json`)."""

    seed: int
    volunteers: int
    recordings: int
    district: str  # where the radio is
    played_until: int = 0  # unix seconds, a local midnight
    heard_at: int = 0  # unix seconds: the bands' own time of what came over the radio in `--once`


class Performance:
    """A house with its cast, for as long as the `with` block lasts."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._recordings = _recordings(options.replay)
        self._stack = ExitStack()
        self._logs = options.folder / "logs"
        self._logs.mkdir(exist_ok=True)
        self._house = House(
            folder=options.folder,
            broker_url=options.broker_url,
            store_url=options.store_url,
            port=options.port,
            note=_NOTE,
        )
        self._recorded = self._sent = 0
        self._dropped: Counter[str] = Counter()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._house)
            self._held_before = self._house.store.holdings().readings
            self._kept = self._read_kept()
            self._times = timeline.timeline(SystemClock().now(), self._options.days, replay=bool(self._recordings))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """Where the pages are."""
        return self._house.address

    def enrol_and_play(self) -> None:
        """Enrol the volunteers once, make the release plan, and play the days that were not played yet."""
        cast = self._cast()
        if not self._house.log.plans():
            with self._phase("enrolling volunteers", len(cast)) as done:
                enrol(self._house, cast, at=self._times.start, progress=done)
            self._house.analytics.make_plan(self._house.districts(), holds_from=self._times.first)
            self._keep()
        days = [day for day in self._times.days if timeline.midnight(day) >= self._kept.played_until]
        played = [v for v in cast if v.number <= self._kept.volunteers and v.wears]
        if days and played:
            self._play(played, [timeline.midnight(day) for day in days])
        self._kept.played_until = timeline.midnight(self._times.until)
        self._keep()

    def _play(self, cast: list[Volunteer], days: list[int]) -> None:
        folder = self._options.folder
        plan = Plan(
            broker_url=self._house.broker_url,
            band_key=self._house.band_key,
            outbox_folder=str(folder),
            seed=self._kept.seed,
            wearers=[Wearer(number=v.number, serial=v.serial, district=v.district) for v in cast],
            days=days,
            events=[self._fireworks()],
        )
        script = folder / "player.json"
        script.touch(mode=0o600)  # it holds the broker's password and the bands' key
        script.write_bytes(msgspec.json.encode(plan))
        with (
            self._phase(f"playing {len(days)} days of {len(cast)} volunteers", len(days)) as done,
            Child("player", ["player", str(script)], env={}, logs=self._logs) as player,
        ):
            totals: dict[str, Any] | None = None
            deadline = time.monotonic() + _PLAY_S_MAX
            while totals is None:
                event = player.event(1.0)
                if event is not None and event["event"] == "day":
                    done(days.index(event["day"]) + 1)
                elif event is not None:
                    totals = event
                if time.monotonic() > deadline:
                    raise Fault("the played days did not end within an hour: play fewer (--days) or fewer people")
        script.unlink()
        self._recorded += totals["recorded"]
        self._sent += totals["sent"]
        self._dropped.update(totals["dropped"])

    def hear_bands(self) -> None:
        """Recordings, or a few invented volunteers for some minutes, over Bluetooth at speed; once per folder."""
        at = self._times.replay_start if self._recordings else self._times.radio_start
        if self._kept.heard_at == at or not self._radio_bands:
            return
        plan = self._radio_plan(at=at, minutes=RADIO_MINUTES, speed=self._options.speed)
        with self._phase(f"hearing {plan.bands} bands over Bluetooth", 1) as done:
            with self._radio(plan) as radio:
                self._recorded += radio.wait_until_done()
            status = self._house.last_word_of(GATEWAY)
            done(1)
        self._sent += status.published
        self._dropped.update(status.minutes_dropped)
        self._kept.heard_at = at
        self._keep()

    def release(self) -> None:
        """Wait until ingest has seen all that was sent, then release every complete window."""
        deadline = time.monotonic() + _SETTLE_S_MAX
        with self._phase("storing", 1) as done:
            while not self._settled():
                if time.monotonic() > deadline:
                    raise Fault("ingest did not keep up with the broker; see its log lines above")
                time.sleep(0.05)
            done(1)
        with self._phase("releasing", 1) as done:
            self._house.analytics.run()
            done(1)

    def guest(self) -> Guest:
        """A place for the band of whoever tries the demonstration, to be entered."""
        return Guest(
            settings=self._house.shared_settings(),
            district=self._kept.district,
            folder=self._options.folder,
            logs=self._logs,
        )

    def live(self, guest: Guest, *, every_s: int) -> None:
        """Bands over Bluetooth in real time, and a release of what becomes due, until interrupted."""
        if self._recordings:
            self.hear_bands()
            self.release()
        now = int(SystemClock().now()) // 60 * 60
        with self._radio(self._radio_plan(at=now, minutes=_LIVE_MINUTES, speed=1.0)) as radio:
            while True:
                radio.check()
                for _ in range(every_s):
                    guest.check()
                    time.sleep(1)
                self._house.analytics.run()

    def summary(self, *, seconds: float) -> Summary:
        """What happened, counted."""
        counters = self._house.ingest.counters()
        stored = self._house.store.holdings().readings - self._held_before
        rejected = add_counts(counters.rejected)
        return summarise(
            bands=self._kept.volunteers + self._kept.recordings,
            minutes=Minutes(
                recorded=self._recorded,
                stored=stored,
                dropped=add_counts(self._dropped, {f"ingest:{reason}": n for reason, n in rejected.items()}),
            ),
            readings=Readings(sent=self._sent, stored=stored, rejected=rejected),
            cells=self._house.log.cells(),
            budget=self._house.log.budget(SystemClock().now()),
            seconds=seconds,
        )

    def _phase(self, told: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return phase(told, total, quiet=self._options.quiet)

    def _settled(self) -> bool:
        counters = self._house.ingest.counters()
        return counters.readings + sum(counters.rejected.values()) >= self._sent

    def _radio(self, plan: RadioPlan) -> Radio:
        return Radio(
            plan,
            broker_url=self._house.broker_url,
            band_key=self._house.band_key,
            folder=self._options.folder,
            logs=self._logs,
        )

    @property
    def _radio_bands(self) -> int:
        return self._kept.recordings or min(RADIO_BANDS, self._kept.volunteers)

    def _radio_plan(self, *, at: int, minutes: int, speed: float) -> RadioPlan:
        words = ["--start", str(at)]
        if self._recordings:
            words += ["--replay", str(self._options.replay), "--first-serial", str(self._kept.volunteers + 1)]
        else:
            first = self._kept.volunteers - self._radio_bands + 1
            words += ["--synthetic", str(self._radio_bands), "--seed", str(self._kept.seed)]
            words += ["--district", self._kept.district, "--minutes", str(minutes), "--first-serial", str(first)]
        longest = max((r.minutes for r in self._recordings), default=minutes)
        return RadioPlan(
            district=self._kept.district,
            words=words,
            bands=self._radio_bands,
            speed=speed,
            seconds=longest * 60 / speed,
        )

    def _cast(self) -> list[Volunteer]:
        """Everybody, in order of number: the city, those who live near the gateway, and the recorded ones."""
        kept = self._kept
        districts = list(self._house.districts())
        near = 0 if kept.recordings else self._radio_bands
        city = {kept.district: kept.volunteers} if kept.recordings else spread(kept.volunteers - near, districts)
        cast = population(city, seed=kept.seed)
        for number in range(len(cast) + 1, kept.volunteers + kept.recordings + 1):
            cast.append(Volunteer(number=number, serial=serial(number), district=kept.district, choices=everything()))
        return cast

    def _fireworks(self) -> dict[str, Any]:
        """A loud evening in the district of the radio, three days ago."""
        evening = timeline.midnight(self._times.until) - 3 * 86_400 + 19 * 3600 + 1800
        return {"district": self._kept.district, "start": evening, "end": evening + 3 * 3600}

    def _read_kept(self) -> Kept:
        file = self._options.folder / "demo.json"
        if file.exists():
            kept = msgspec.json.decode(file.read_bytes(), type=Kept)
            if bool(kept.recordings) != bool(self._recordings):
                raise UsageFault(
                    f"{self._options.folder} holds a demonstration {'with' if kept.recordings else 'without'} "
                    "recordings: start it the same way, or choose another --data"
                )
            return kept
        return Kept(
            seed=self._options.seed,
            volunteers=self._options.volunteers,
            recordings=len(self._recordings),
            district=self._district(list(self._house.districts())),
        )

    def _district(self, districts: list[District]) -> str:
        codes = sorted(d.code for d in districts)
        wanted = self._options.district
        if wanted is None:
            return codes[min(2, len(codes) - 1)]
        if wanted not in codes:
            raise UsageFault(f"there is no district {wanted}: 'wijkpols districts list' shows them")
        return wanted

    def _keep(self) -> None:
        (self._options.folder / "demo.json").write_bytes(msgspec.json.encode(self._kept))


_NOTE: Final = (
    "De dragers zijn verzonnen of opgenomen, geen inwoners. De dagen tot vandaag zijn "
    "versneld afgespeeld. Daarbij is alleen Bluetooth weggelaten: toestemming, verzending, opslag en ruis zijn echt.",
    "The wearers are invented or recorded, not residents. The days up to today were played "
    "at speed. Only Bluetooth was left out of that: consent, transport, storage and noise are real.",
)


def _recordings(folder: Path | None) -> list[Recording]:
    if folder is None:
        return []
    try:
        return list(load_folder(folder))
    except RecordingFault as fault:
        raise Fault(str(fault)) from None
