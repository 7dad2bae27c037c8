"""What a gateway ought to make of a band's signals: straight from them, at the resolution that a band tells them in."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from contracts.reading import Category, Reading
from firmware_sim.physiology import Samples
from gateway.epochs import Signals, minute_table
from gateway.gatt_codec import TICKS_PER_S


def fast_path(whole: Samples, pseudonym: str, categories: Collection[Category] = tuple(Category)) -> list[Reading]:
    """The minutes of `whole`, which begins and ends with a minute, for who consented to `categories`."""
    n = whole.seconds // 60
    floored = np.floor(whole.beat_t * TICKS_PER_S) / TICKS_PER_S
    eda = np.where(np.isfinite(whole.eda), np.rint(whole.eda * 1000) / 1000, np.nan)
    told = np.full(whole.seconds, np.nan)
    told[9::10] = whole.temp[9::10]
    heart = Category.HEART in categories
    skin = Category.SKIN in categories
    motion = Category.MOTION in categories
    table, _ = minute_table(
        Signals(
            start=whole.start,
            minutes=n,
            beat_t=floored if heart else None,
            rr=np.rint(whole.rr * TICKS_PER_S).astype(np.float64) / TICKS_PER_S if heart else None,
            hr=whole.hr.astype(np.float64).reshape(n, 60) if heart else None,
            contact=whole.worn.astype(np.float64).reshape(n, 60) if heart else None,
            eda=eda.reshape(n, 240) if skin else None,
            skin_temp=told.reshape(n, 60) if skin else None,
            acc_mean=whole.acc_mean.astype(np.float64).reshape(n, -1) if motion else None,
            acc_sd=whole.acc_sd.astype(np.float64).reshape(n, -1) if motion else None,
        )
    )
    return table.readings(pseudonym)
