"""What is collected, why, by whom, and what became of it, gathered for the API and for the page.

Nothing here counts people: how many bands a gateway hears, how many are enrolled or how many minutes came in would.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from api.notices import LANGUAGES
from api.parts import Parts
from api.privacy_loss import DELTA, epsilon_of
from api.records import CONSENT_MONTHS, LAWFUL_BASIS
from api.schemas import (
    BudgetOut,
    CategoryOut,
    DoneWithin,
    ErasureTotalsOut,
    FieldOut,
    GatewayOut,
    MetricCounts,
    Transparency,
)
from contracts.consent import Purpose
from contracts.reading import FIELDS, RETENTION_DAYS, Category, Reason
from contracts.release import MEASURED

#: What is promised to volunteers (docs: the way of consent).
WITHDRAWAL_SECONDS: Final = 60
ERASURE_SECONDS: Final = 86_400
#: Seconds: what we want, a minute, an hour, what is promised.
_SPANS: Final = (5, 60, 3_600, ERASURE_SECONDS)

#: A self-report's own fields, which are no fields of a reading.
_SELF_REPORT: Final = (
    FieldOut(name="safe", unit="0-10", low=0, high=10),
    FieldOut(name="happy", unit="0-10", low=0, high=10),
)


def budget_out(parts: Parts) -> BudgetOut:
    """What the releases cost until now."""
    budget = parts.releases.budget(parts.clock.now())
    return BudgetOut(
        rho_spent=round(budget.rho_spent, 6),
        rho_cap=budget.rho_cap,
        days=budget.days,
        epsilon_spent=round(epsilon_of(budget.rho_spent), 2),
        epsilon_cap=round(epsilon_of(budget.rho_cap), 2),
        delta=DELTA,
    )


def transparency(parts: Parts) -> Transparency:
    """The whole public record."""
    settings, totals = parts.settings, parts.ledger.erasure_totals()
    return Transparency(
        controller=settings.controller_name,
        contact=settings.contact_email,
        purposes=list(Purpose),
        lawful_basis=LAWFUL_BASIS,
        categories=categories(),
        reasons=list(Reason),
        retention_days=RETENTION_DAYS,
        consent_months=CONSENT_MONTHS,
        withdrawal_seconds_promised=WITHDRAWAL_SECONDS,
        notice_version=parts.notices.version,
        notice_sha256={language: parts.notices.of(language).sha256 for language in LANGUAGES},
        figures=figures(parts),
        budget=budget_out(parts),
        erasures=ErasureTotalsOut(
            done=totals.done,
            under_way=totals.under_way,
            seconds_median=totals.within(0.5),
            seconds_p99=totals.within(0.99),
            seconds_max=totals.within(1.0),
            done_within=[DoneWithin(seconds=span, done=bisect_right(totals.seconds, span)) for span in _SPANS],
            seconds_promised=ERASURE_SECONDS,
        ),
        gateways=gateways(parts),
        demonstration=settings.demo_note_en or settings.demo_note or None,
    )


def categories() -> list[CategoryOut]:
    """What is collected, by what a volunteer says yes or no to."""
    found = []
    for category in Category:
        fields = [
            FieldOut(name=name, unit=field.unit, low=field.low, high=field.high)
            for name, field in FIELDS.items()
            if field.category is category
        ]
        found.append(CategoryOut(category=category, fields=fields or list(_SELF_REPORT)))
    return found


def figures(parts: Parts) -> list[MetricCounts]:
    """How many figures of each measured metric were published, and withheld by reason."""
    published: Counter[str] = Counter()
    withheld: dict[str, Counter[str]] = {metric: Counter() for metric in MEASURED}
    for cell in parts.releases.cells(derived=False):
        if cell.status == "published":
            published[cell.metric] += 1
        else:
            withheld[cell.metric][cell.reason or "unknown"] += 1
    return [MetricCounts(metric=m, published=published[m], withheld=dict(withheld[m])) for m in MEASURED]


def gateways(parts: Parts) -> list[GatewayOut]:
    """What is public of the gateways that were heard, those at work first."""
    heard = [] if parts.publisher is None else parts.publisher.gateways()
    return [
        GatewayOut(
            gateway=status.gateway,
            district=status.district,
            online=status.online,
            at=datetime.fromtimestamp(status.at, UTC) if status.at else None,
            version=status.version,
        )
        for status in sorted(heard, key=lambda status: not status.online)
    ]
