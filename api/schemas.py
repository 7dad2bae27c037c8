"""What goes over the API, in camelCase. Figures have one decimal in every format."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api.notices import Language
from contracts.consent import Purpose
from contracts.reading import Category, Reason
from contracts.release import Cadence, Cell, Metric, ProfileBlock, ReasonCount


class Schema(BaseModel):
    """Base: camelCase outside, no unknown names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Link(Schema):
    """A link to another resource (RFC 8288)."""

    rel: str = Field(description="What the link leads to.")
    href: str = Field(description="The address, relative to this host.")
    type: str = Field(default="application/json", description="The media type found there.")


# Districts


class DistrictOut(Schema):
    """A district, and the area in which its figures are released."""

    code: str = Field(description="CBS code: GM + 4, WK + 6 or BU + 8 digits.", examples=["WK034403"])
    name: str = Field(description="The district's name.")
    boundary_year: int = Field(description="Year of the boundaries that the code belongs to.")
    area: str | None = Field(description="Area in which its figures are released; a merge joins codes by '+'.")
    cadence: Cadence | None = Field(description="How often that area releases; null when there is no plan yet.")
    has_geometry: bool = Field(description="Whether boundaries are known; otherwise a tile map is drawn.")


class DistrictList(Schema):
    """All districts, by code."""

    districts: list[DistrictOut] = Field(description="The districts, by code. The order says nothing of the figures.")
    links: list[Link] = Field(description="Other formats.")


class Geometry(BaseModel):
    """A GeoJSON geometry (RFC 7946), WGS 84."""

    type: Literal["Polygon", "MultiPolygon"] = Field(description="Kind of geometry.")
    coordinates: list[Any] = Field(description="Rings of [longitude, latitude].")


class DistrictProperties(DistrictOut):
    """The properties of a district's feature."""

    note: str | None = Field(None, description="Says so when the geometry is a tile and not the boundary.")


class DistrictFeature(BaseModel):
    """A district as a GeoJSON feature."""

    type: Literal["Feature"] = "Feature"
    id: str = Field(description="The district's code.")
    geometry: Geometry
    properties: DistrictProperties


class DistrictFeatures(BaseModel):
    """A GeoJSON FeatureCollection, in the form of OGC API Features."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    type: Literal["FeatureCollection"] = "FeatureCollection"
    number_matched: int = Field(description="Number of districts.")
    number_returned: int = Field(description="Number of features in this answer.")
    links: list[Link]
    features: list[DistrictFeature]


# Releases


class CellOut(Schema):
    """One figure, published or withheld. A withheld one has no value, whatever the number that took part."""

    area: str = Field(description="The area; a fixed merge of districts joins their codes by '+'.")
    districts: list[str] = Field(description="The districts in this area.")
    metric: Metric = Field(description="safe, calm and happy are measured; the others are computed out of those.")
    window: str = Field(description="The day (2026-11-21) or ISO week (2026-W47).", examples=["2026-W47"])
    cadence: Cadence = Field(description="Whether the window is a day or a week.")
    start: datetime = Field(description="Begin of the window.")
    end: datetime = Field(description="End of the window, not included.")
    method: str = Field(description="Version of the method.")
    status: Literal["published", "withheld"] = Field(description="Whether there is a figure.")
    value: float | None = Field(description="0 to 100.")
    margin: float | None = Field(description="Half of the 95 % interval; self-selection is left out of it.")
    participants: float | None = Field(description="The noisy number that took part.")
    reason: str | None = Field(description="Why it is withheld.")


class ReleasePage(Schema):
    """A page of figures, oldest window first."""

    releases: list[CellOut] = Field(description="The figures.")
    links: list[Link] = Field(description="`next` leads to the following page, when there is one.")


def cell_out(cell: Cell) -> CellOut:
    """A cell as it goes out: one decimal, whatever the format."""
    return CellOut(
        area=cell.area,
        districts=list(cell.districts),
        metric=cell.metric,
        window=cell.window,
        cadence=cadence_of(cell),
        start=datetime.fromtimestamp(cell.start, UTC),
        end=datetime.fromtimestamp(cell.end, UTC),
        method=cell.method,
        status=cell.status,
        value=rounded(cell.value),
        margin=rounded(cell.margin),
        participants=rounded(cell.participants),
        reason=cell.reason,
    )


def cadence_of(cell: Cell | ReasonCount | ProfileBlock) -> Cadence:
    """A day is named 2026-11-21, a week 2026-W47."""
    return Cadence.WEEKLY if "W" in cell.window else Cadence.DAILY


def rounded(value: float | None) -> float | None:
    """One decimal, and no negative zero."""
    return None if value is None else round(value, 1) + 0.0


class ReasonOut(Schema):
    """How many gave one reason in a week; each volunteer counts once, with the reason given most often."""

    area: str = Field(description="The area; a fixed merge of districts joins their codes by '+'.")
    districts: list[str] = Field(description="The districts in this area.")
    reason: Reason = Field(description="The reason, out of the public list.")
    window: str = Field(description="The ISO week.", examples=["2026-W47"])
    start: datetime = Field(description="Begin of the week.")
    end: datetime = Field(description="End of the week, not included.")
    method: str = Field(description="Version of the method.")
    status: Literal["published", "withheld"] = Field(description="Whether there is a figure.")
    people: float | None = Field(description="The noisy number of volunteers.")
    margin: float | None = Field(description="Half of the 95 % interval of the noise.")


class ReasonPage(Schema):
    """The reasons of one week or several, oldest first."""

    reasons: list[ReasonOut] = Field(description="One line per area, week and reason.")


class ProfileBlockOut(Schema):
    """Three hours of the day in an area's week, against the same people's mean over all blocks."""

    area: str = Field(description="The area; a fixed merge of districts joins their codes by '+'.")
    districts: list[str] = Field(description="The districts in this area.")
    from_hour: int = Field(description="The local hour at which the block begins.", examples=[18])
    to_hour: int = Field(description="The local hour at which it ends.", examples=[21])
    window: str = Field(description="The ISO week.", examples=["2026-W47"])
    start: datetime = Field(description="Begin of the week.")
    end: datetime = Field(description="End of the week, not included.")
    method: str = Field(description="Version of the method.")
    status: Literal["published", "withheld"] = Field(description="Whether there is a figure.")
    value: float | None = Field(description="Points of calm above (below) the people's own mean, -10 to 10.")
    margin: float | None = Field(description="Half of the 95 % interval.")
    participants: float | None = Field(description="The noisy number of volunteers.")
    reason: str | None = Field(description="Why it is withheld.")


class ProfilePage(Schema):
    """The profiles of one week or several, oldest first."""

    profiles: list[ProfileBlockOut] = Field(description="One line per daily area, week and block of hours.")


class TotalPage(Schema):
    """The city's figures of one week or several, oldest first."""

    totals: list[CellOut] = Field(description="`area` is `city`; `districts` are those that are in the mean.")


# Openness


class BudgetOut(Schema):
    """What the releases cost a volunteer at most, in zero-concentrated differential privacy."""

    rho_spent: float = Field(description="The most that any volunteer lost in any 30 days (ρ).")
    rho_cap: float = Field(description="What may never be passed (ρ).")
    days: int = Field(description="The span over which is counted.")
    epsilon_spent: float = Field(description="The same as ε, at this δ.")
    epsilon_cap: float = Field(description="The cap as ε, at this δ.")
    delta: float = Field(description="The δ for ε.")


class FieldOut(Schema):
    """One thing that is measured."""

    name: str = Field(description="Name of the field.")
    unit: str = Field(description="Unit; 1 stands for a share.")
    low: float = Field(description="Lowest value that is taken in.")
    high: float = Field(description="Highest value that is taken in.")


class CategoryOut(Schema):
    """A kind of data to which a volunteer says yes or no."""

    category: Category = Field(description="Name of the category.")
    fields: list[FieldOut] = Field(description="What is in it.")


class GatewayOut(Schema):
    """A gateway. How many bands it hears is not told: that would count people."""

    gateway: str = Field(description="Its name.")
    district: str = Field(description="Where it stands.")
    online: bool = Field(description="Whether it is at work.")
    at: datetime | None = Field(description="When it last said that it is at work; null when that is not known.")
    version: str = Field(description="Its software; empty when that is not known.")


class MetricCounts(Schema):
    """How many figures were published and withheld."""

    metric: Metric = Field(description="The metric.")
    published: int = Field(description="Figures published.")
    withheld: dict[str, int] = Field(description="Figures withheld, by reason.")


class DoneWithin(Schema):
    """How many were done within a span."""

    seconds: int = Field(description="The span.")
    done: int = Field(description="So many were.")


class ErasureTotalsOut(Schema):
    """How erasures go."""

    done: int = Field(description="Erasures done.")
    under_way: int = Field(description="Erasures asked for and not yet reported as done.")
    seconds_median: float | None = Field(description="Half of them were done within so many seconds of the button.")
    seconds_p99: float | None = Field(description="99 of 100 were.")
    seconds_max: float | None = Field(description="All were.")
    done_within: list[DoneWithin] = Field(description="How many were done within some spans.")
    seconds_promised: int = Field(description="What is promised.")


class Transparency(Schema):
    """What is collected, by whom, why, for how long, and what became of it."""

    controller: str = Field(description="Who asks for the data (GDPR art. 4).")
    contact: str = Field(description="Where to ask.")
    purposes: list[Purpose] = Field(description="What it is used for; each is asked apart.")
    lawful_basis: str = Field(description="The ground in law.")
    categories: list[CategoryOut] = Field(description="What is collected, by what a volunteer says yes or no to.")
    reasons: list[str] = Field(description="The reasons that a self-report may carry.")
    retention_days: int = Field(description="How long a reading is kept.")
    consent_months: int = Field(description="After how many months consent ends.")
    withdrawal_seconds_promised: int = Field(description="After so many seconds nothing more is stored.")
    notice_version: str = Field(description="Version of the text that volunteers read.")
    notice_sha256: dict[Language, str] = Field(description="SHA-256 of that text, by language.")
    figures: list[MetricCounts] = Field(description="What was published and what was withheld.")
    budget: BudgetOut = Field(description="What it costs in privacy.")
    erasures: ErasureTotalsOut = Field(description="How erasures go.")
    gateways: list[GatewayOut] = Field(description="The gateways that have been heard, those at work first.")
    demonstration: str | None = Field(description="Says so when this is a demonstration.")


class AccessOut(Schema):
    """How often a role asked a dataset for a purpose on a day."""

    day: str = Field(description="The day (UTC).", examples=["2026-11-21"])
    role: str = Field(description="Who: volunteer, staff or analytics.")
    purpose: str = Field(description="The stated purpose.")
    dataset: str = Field(description="What was asked.")
    times: int = Field(description="How often. Analytics is not counted: 1 is a day on which it ran.")


class AccessLogOut(Schema):
    """The public access log, newest day first."""

    entries: list[AccessOut] = Field(description="The entries.")


class Health(Schema):
    """Whether the service works."""

    status: Literal["ok", "degraded"] = Field(description="ok when everything is there.")
    registry: Literal["ok", "unreachable"] = Field(description="The consent ledger's database.")
    broker: Literal["connected", "disconnected", "not-configured"] = Field(description="The MQTT broker.")


# Volunteers

#: Described by the published schema, which the OpenAPI document holds as `ConsentReceipt`.
Receipt = dict[str, Any]

Choices = Annotated[
    dict[Purpose, list[Category]],
    Field(description="Purpose to categories. What is absent is a no.", max_length=len(Purpose)),
]


class EnrolmentIn(Schema):
    """A volunteer comes in. Nothing is ticked beforehand: what is absent is a no."""

    claim_code: str = Field(min_length=16, max_length=40, description="The code printed with the band.")
    district: str = Field(max_length=10, description="Code of the district where the volunteer lives.")
    adult: bool = Field(description="The volunteer states to be 18 or older.")
    language: Language = Field("nl", description="Language of the notice that was read.")
    choices: Choices = {}


class ChoicesIn(Schema):
    """A new choice, in the place of the one before. With `erase`, what is stored and not said yes to is erased."""

    choices: Choices
    language: Language | None = Field(None, description="Language of the notice that was read, if it is another one.")
    erase: bool = Field(False, description="Whether to erase what is stored of what gets no yes now.")


class WithdrawalIn(Schema):
    """Stop. With `erase`, what is stored is erased too."""

    erase: bool = Field(False, description="Whether to erase what is stored as well.")


class EnrolmentOut(Schema):
    """What a new volunteer gets."""

    bearer_token: str = Field(description="Shown once. Send it as 'Authorization: Bearer …'.")
    receipt: Receipt = Field(description="What was agreed.")


class OwnErasure(Schema):
    """An erasure that the volunteer asked for."""

    asked_at: datetime = Field(description="When it was asked for.")
    erased_at: datetime | None = Field(description="When the store reported it done; null until then.")
    readings: int | None = Field(description="Readings erased.")
    reports: int | None = Field(description="Self-reports erased.")
    everything: bool = Field(description="Whether all was to be erased, or only what was not said yes to any more.")
    kinds: list[Category] = Field(description="What was to be erased.")


class Me(Schema):
    """What the ledger says of the volunteer who asks."""

    receipt: Receipt = Field(description="The last choice.")
    covers_now: bool = Field(description="Whether anything is collected now.")
    erasures: list[OwnErasure] = Field(description="Erasures asked for.")
    links: list[Link] = Field(description="What can be done.")
