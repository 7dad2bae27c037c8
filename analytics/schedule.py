"""Releasing when it is due, for ever: at the start, and then each local day some hours after midnight.

Any number of these may run at once, be killed and started again: the release log lets each window have one draw. The
clock is looked at anew every minute, so that one that jumps, or a machine that slept, is noticed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError

from analytics.windows import instant, local_day
from contracts.ports import Clock, Fault, StoreUnavailable, UsageFault

#: After a run that failed (the store or the registry was away) it is tried again in so many seconds.
RETRY_S: Final = 300.0
#: The longest wait before the clock is looked at again.
_LOOK_S: Final = 60.0
_LOG: Final = logging.getLogger(__name__)


def next_due(now: float, *, grace_s: float) -> float:
    """The first instant after now (unix seconds) at which a window becomes complete and its grace is over."""
    day = local_day(now - grace_s)
    return instant(day + timedelta(days=1)) + grace_s


def keep_releasing(run: Callable[[], None], *, clock: Clock, wait: Callable[[float], bool], grace_s: float) -> None:
    """Call `run` now and whenever it is due. `wait` waits so many seconds, and says True when it is time to stop.

    A run that cannot reach its store, consents or registry is tried again; nothing else is caught, and no
    UsageFault (there is no plan, a URL cannot be used): somebody must mend that first.
    """
    while True:
        try:
            run()
            due = next_due(clock.now(), grace_s=grace_s)
        except UsageFault:
            raise
        except (Fault, StoreUnavailable, DBAPIError) as fault:
            # The text of a database's error can hold bound values; ours are written for people.
            reason = str(fault) if isinstance(fault, Fault) else type(fault).__name__
            _LOG.warning("the run did not end and is tried again: %s", reason)
            due = clock.now() + RETRY_S
        asked = clock.now()
        while (now := clock.now()) < due:
            if now < asked - _LOOK_S:  # put back: what is due is asked anew, and what has been drawn is not drawn again
                break
            if wait(min(due - now, _LOOK_S)):
                return
            asked = max(asked, now)
