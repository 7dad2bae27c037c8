"""Receipts: JSON-LD that expands to DPV's terms, held to the published schema, and false statements are found."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from pyld import jsonld
from sqlalchemy import text

import wijkpols
from api.app import Registry
from api.receipt_check import Statement, check
from api.receipts import Receipts, schema
from api.records import ConsentRecord, parse
from contracts.consent import Purpose
from contracts.reading import Category
from contracts.wire import Erasure
from tests.api_support import BAND_KEY, CHOICES, NOW, ManualClock
from tests.registrykit.databases import url_of, without_guards

pytestmark = pytest.mark.usefixtures("database")

DPV, GDPR, DCT, OURS = (
    "https://w3id.org/dpv#",
    "https://w3id.org/dpv/legal/eu/gdpr#",
    "http://purl.org/dc/terms/",
    "urn:wijkpols:terms:",
)
#: The terms of DPV 2.0 (w3c/dpv, 2.0/dpv/dpv.csv and 2.0/legal/eu/gdpr/eu-gdpr.csv) that a receipt may use.
_DPV_NAMES = """
    ConsentExpired ConsentGiven ConsentInvalidated ConsentNotice ConsentReceipt ConsentRecord ConsentRefused
    ConsentWithdrawn DataController DataSubject DataSubjectRight Optional Participant Process PublicBenefit
    RenewedConsentGiven ScientificResearch SensitivePersonalData SpecialCategoryPersonalData StorageDuration
    StorageLocation WithdrawConsent hasConsentControl hasConsentStatus hasDataController hasDataSubject hasDuration
    hasJurisdiction hasLegalBasis hasLocation hasNecessity hasNotice hasPersonalData hasProcess hasPurpose hasRecipient
    hasRecordOfActivity hasRight hasStorageCondition isExercisedAt isIndicatedAtTime isIndicatedBy
"""
TERMS = {
    *(DPV + name for name in _DPV_NAMES.split()),
    *(f"{GDPR}{name}" for name in ("A6-1-a", "A9-2-a", "A7-3", "A15", "A16", "A17", "A20", "A21")),
    *(DCT + name for name in ("conformsTo", "created", "hasVersion", "identifier", "language", "publisher", "title")),
}


_OTHER = "urn:uuid:00000000-0000-4000-8000-000000000000"


@pytest.fixture
def receipts(registry: Registry, clock: ManualClock) -> Receipts:
    return Receipts(registry.engine, clock=clock)


def enrolled(registry: Registry, serial: str = "WP-000001", choices: Any = CHOICES) -> str:
    code = registry.ledger.add_band(serial)
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=choices)
    return done.record.principal_id


def statements(registry: Registry, receipts: Receipts, receipt: Any) -> list[Statement]:
    # Through JSON, as a file goes.
    return check(json.loads(json.dumps(receipt)), engine=registry.engine, receipts=receipts)


def no_network(url: str, _options: Any) -> Any:
    raise AssertionError(f"a receipt wants something from elsewhere: {url}")


def iris_of(node: Any) -> Iterator[str]:
    """Every property and every type, and every value that names a term, of an expanded document."""
    if isinstance(node, list):
        for item in node:
            yield from iris_of(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "@type" and "@value" not in node:
                yield from value
            elif key == "@id" and value.startswith((DPV, GDPR, OURS)):
                yield value
            elif not key.startswith("@"):
                yield key
            if not key.startswith("@") or key == "@list":
                yield from iris_of(value)


def every_receipt(registry: Registry, receipts: Receipts, clock: ManualClock) -> list[dict[str, Any]]:
    """One of each event."""
    one, two = enrolled(registry), enrolled(registry, "WP-000002", {})
    found = [receipts.last(one), receipts.last(two)]
    clock.time = registry.ledger.current(one).valid_until
    registry.renewals.sweep()
    found.append(receipts.last(one))
    registry.ledger.change(one, CHOICES)
    found.append(receipts.last(one))
    registry.ledger.withdraw(one, erase=True)
    return [*found, receipts.last(one)]


def test_each_receipt_expands_without_network_to_terms_that_exist(
    registry: Registry, receipts: Receipts, clock: ManualClock
) -> None:
    told = set()
    for receipt in every_receipt(registry, receipts, clock):
        (expanded,) = jsonld.expand(receipt, {"documentLoader": no_network})
        assert expanded["@type"] == [f"{DPV}ConsentReceipt"]
        used = set(iris_of(expanded))
        assert {iri for iri in used if not iri.startswith(OURS)} <= TERMS
        told |= used
        (record,) = expanded[f"{DPV}hasRecordOfActivity"]
        (status,) = record[f"{DPV}hasConsentStatus"]
        (at,) = status[f"{DPV}isIndicatedAtTime"]
        assert at["@type"] == "http://www.w3.org/2001/XMLSchema#dateTime"
        names = {name for name in _keys(receipt) if not name.startswith("@")}
        assert names <= set(receipt["@context"])  # no name without a meaning
    for state in ("ConsentGiven", "ConsentRefused", "ConsentExpired", "RenewedConsentGiven", "ConsentWithdrawn"):
        assert DPV + state in told
    assert {f"{GDPR}A9-2-a", f"{DPV}hasRecipient", f"{DPV}hasStorageCondition"} <= told


def _keys(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            if key != "@context":
                yield from _keys(value)
    elif isinstance(node, list):
        for item in node:
            yield from _keys(item)


def test_the_schema_is_one_and_each_receipt_keeps_it(
    registry: Registry, receipts: Receipts, clock: ManualClock
) -> None:
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema())
    for receipt in every_receipt(registry, receipts, clock):
        validator.validate(receipt)
        for name in receipt:
            with pytest.raises(ValidationError):
                validator.validate({key: value for key, value in receipt.items() if key != name} | {"more": 1})


def test_nothing_that_breaks_the_schema_is_handed_out(registry: Registry, receipts: Receipts) -> None:
    enrolled(registry)
    entry = receipts.at(1)
    assert entry is not None
    with pytest.raises(ValidationError):
        receipts.of(entry._replace(hash="spoilt"), created=0)


def test_a_true_receipt_holds_in_every_statement_and_so_does_an_older_one(
    registry: Registry, receipts: Receipts, clock: ManualClock
) -> None:
    for receipt in every_receipt(registry, receipts, clock):
        found = statements(registry, receipts, receipt)
        assert [statement.told for statement in found if not statement.holds] == []
        assert len(found) > 20
    done = Erasure(revision=5, readings=3, reports=1, asked_at=int(clock.time), erased_at=clock.time + 4)
    assert registry.ledger.record_erasure(receipt["record"]["principal"]["principalId"], done)
    told = [s.told for s in statements(registry, receipts, receipt) if s.told.startswith("erasure")]
    assert told == ["erasure: was under way when this copy was made; it is done now"]
    newer = receipts.last(receipt["record"]["principal"]["principalId"])
    assert newer["erasure"]["readings"] == 3
    assert all(statement.holds for statement in statements(registry, receipts, newer))


def erasure_told(registry: Registry, receipts: Receipts, place: int) -> str:
    entry = receipts.at(place)
    assert entry is not None
    found = statements(registry, receipts, receipts.of(entry, created=NOW + 9_000))
    return next(statement.told for statement in found if statement.told.startswith("erasure"))


def test_an_erasure_that_the_chain_does_not_know_is_not_so(
    registry: Registry, receipts: Receipts, clock: ManualClock
) -> None:
    pseudonym = enrolled(registry)
    registry.ledger.change(pseudonym, {Purpose.DISTRICT_INDEX: (Category.HEART,)}, erase=True)
    clock.time += 9
    registry.ledger.withdraw(pseudonym, erase=True)
    assert {erasure_told(registry, receipts, place) for place in (2, 3)} == {"erasure: asked for, and under way"}
    forged = "UPDATE erasures SET erased_at = 4000000000, readings = 4711, reports = 12 WHERE revision = 3"
    with registry.engine.begin() as connection:
        connection.execute(text(forged))
    assert erasure_told(registry, receipts, 3) == "erasure: the registry says other than the chain"
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE erasures SET erased_at = NULL, readings = NULL, reports = NULL"))
    done = Erasure(revision=3, readings=3, reports=1, asked_at=int(clock.time), erased_at=clock.time + 4.25)
    assert registry.ledger.record_erasure(pseudonym, done)  # the first one is done with it
    assert {erasure_told(registry, receipts, place) for place in (2, 3)} == {"erasure: done"}
    with registry.engine.begin() as connection:
        connection.execute(text(forged))
    assert erasure_told(registry, receipts, 3) == "erasure: the registry says other than the chain"
    assert registry.ledger.verify() is None


def test_a_choice_that_repeats_a_wish_to_erase_has_no_erasure_of_its_own_and_one_that_lost_it_is_not_so(
    registry: Registry, receipts: Receipts
) -> None:
    pseudonym = enrolled(registry)
    registry.ledger.change(pseudonym, {Purpose.DISTRICT_INDEX: (Category.HEART,)}, erase=True)
    again = registry.ledger.change(pseudonym, {})  # no to more, while the store is at it
    assert again.erase
    done = Erasure(revision=2, readings=3, reports=1, asked_at=again.at, erased_at=again.at + 4.0)
    for event in ("repeated", "erased", "withdrawn"):
        if event == "erased":
            assert registry.ledger.record_erasure(pseudonym, done)
        elif event == "withdrawn":
            registry.ledger.change(pseudonym, CHOICES)
            registry.ledger.withdraw(pseudonym, erase=False)
        last = receipts.last(pseudonym)
        assert "erasure" not in last, event
        assert [one.told for one in statements(registry, receipts, last) if not one.holds] == []
    with registry.engine.begin() as connection:
        connection.execute(text("DELETE FROM erasures"))
    assert erasure_told(registry, receipts, 2) == "erasure: the registry says other than the chain"


def test_a_receipt_that_is_made_in_the_second_of_the_choice_is_not_from_before_it(
    registry: Registry, receipts: Receipts, clock: ManualClock
) -> None:
    clock.time += 0.3  # the choice is dated at the next whole second
    receipt = receipts.last(enrolled(registry))
    assert [s.told for s in statements(registry, receipts, receipt) if not s.holds] == []


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if isinstance(value, dict | list) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_an_edit_of_any_field_is_found(registry: Registry, receipts: Receipts) -> None:
    receipt = receipts.last(enrolled(registry))
    enrolled(registry, "WP-000002")
    paths = [path for path in _leaves(receipt) if path != ("created",)]
    assert len(paths) > 90
    for path in paths:
        forged = copy.deepcopy(receipt)
        place = forged
        for step in path[:-1]:
            place = place[step]
        old = place[path[-1]]
        swapped = {"wijkpols:heart": "wijkpols:skin", "given": "renewed", "1": "2", "2": "1"}.get(old)
        place[path[-1]] = swapped or (old + 1 if isinstance(old, int) else f"{old}x")
        assert not all(s.holds for s in statements(registry, receipts, forged)), path


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r["record"]["processes"].clear(),
        lambda r: r["record"]["processes"][0]["personalData"].pop(),
        lambda r: r["record"]["processes"][0]["recipients"].append("the police"),
        lambda r: r["record"]["status"].update({"@type": "dpv:ConsentWithdrawn", "event": "withdrawn"}),
        lambda r: r["record"].update({"validUntil": "2030-01-01T00:00:00+00:00"}),
        lambda r: r.update({"created": "2020-01-01T00:00:00+00:00"}),
        lambda r: r.update({"erasure": {"askedAt": "2026-11-23T08:00:00+00:00"}}),
        lambda r: r["@context"].update({"processes": "dpv:hasRight"}),
        lambda r: r.update({"@id": _OTHER}),
        lambda r: r["record"].update({"@id": _OTHER}),
        lambda r: r["record"].update({"recordId": _OTHER.removeprefix("urn:uuid:")}),
        lambda r: r["record"]["principal"].update({"@id": f"volunteer:{'b' * 26}"}),
        lambda r: r["ledger"].update({"place": 2}),
        lambda r: r["ledger"].update({"place": 10**30}),
        lambda r: r["record"].update({"adult": 1}),
    ],
)
def test_a_forged_receipt_that_keeps_the_schema_is_found(registry: Registry, receipts: Receipts, edit: Any) -> None:
    receipt = copy.deepcopy(receipts.last(enrolled(registry)))
    enrolled(registry, "WP-000002")
    edit(receipt)
    assert not all(statement.holds for statement in statements(registry, receipts, receipt))


@pytest.mark.parametrize("junk", [None, [], "x", 7, {}, {"ledger": 1}, {"record": {"ledger": None}}])
def test_what_is_no_receipt_is_said_to_be_none(registry: Registry, receipts: Receipts, junk: Any) -> None:
    (only,) = statements(registry, receipts, junk)
    assert (only.holds, only.told.startswith("form")) == (False, True)


def test_an_edited_ledger_is_found_by_the_receipt(registry: Registry, receipts: Receipts) -> None:
    receipt = receipts.last(enrolled(registry))
    with registry.engine.begin() as connection:
        connection.execute(text(without_guards(registry.engine.dialect.name)))
        connection.execute(text("UPDATE consent_events SET body = replace(body, '\"heart\",', '')"))
    wrong = [s.told for s in statements(registry, receipts, receipt) if not s.holds]
    assert any(told.startswith("record.processes") for told in wrong)
    assert any(told.startswith("chain") for told in wrong)


@pytest.mark.parametrize("edit", ["'spoilt'", "replace(body, 'explicit', 'implied')", "replace(body, 'WK034403', '')"])
def test_an_event_that_is_no_choice_any_more_is_said_to_be_edited(
    registry: Registry, receipts: Receipts, edit: str
) -> None:
    receipt = receipts.last(enrolled(registry))
    with registry.engine.begin() as connection:
        connection.execute(text(without_guards(registry.engine.dialect.name)))
        connection.execute(text(f"UPDATE consent_events SET body = {edit}"))
    found = statements(registry, receipts, receipt)
    assert [s.told.split(":")[0] for s in found if not s.holds] == ["record"]


def test_a_record_from_before_this_version_still_gives_a_receipt() -> None:
    body = (
        '{"adult":true,"at":1,"controller":"G","district":"WK034403","erase":false,"event":"given","jurisdiction":"NL",'
        '"lawfulBasis":"explicit consent: GDPR art. 6(1)(a) and 9(2)(a)","notice":{"language":"nl","sha256":"'
        + "a" * 64
        + '","uri":"https://x.example/toestemming","version":"1"},"principalId":"'
        + "a" * 26
        + '","purposes":{"district-index":["heart"]},"recordId":"6f1d3c1e-0b1e-4b8e-8f7a-000000000001",'
        '"retentionDays":35,"schemaVersion":"1","type":"consent","validFrom":1,"validUntil":2,'
        '"withdrawalMethod":"https://x.example/v1/me/withdrawals"}'
    )
    record = parse(body)
    assert isinstance(record, ConsentRecord)
    assert (record.schema_version, record.recipients, record.rights) == ("1", (), {})


def test_the_command_checks_a_file_and_says_each_statement(
    registry: Registry,
    receipts: Receipts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", url_of(tmp_path))
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    file, receipt = tmp_path / "receipt.json", receipts.last(enrolled(registry))
    file.write_text(json.dumps(receipt))
    assert wijkpols.main(["consent", "verify", "--receipt", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok   record.notice: as in the ledger" in lines
    assert any("the last word of this volunteer (the ledger now ends at event " in line for line in lines)
    receipt["record"]["district"] = "WK034499"
    file.write_text(json.dumps(receipt))
    assert wijkpols.main(["consent", "verify", "--receipt", str(file)]) == 1
    told = capsys.readouterr()
    assert "NOT  record.district: not so" in told.out.splitlines()
    assert "WK034499" not in told.out + told.err
    for content in ("[" * 30_000, "{", " " * 70_000, "\x00"):
        file.write_text(content)
        assert wijkpols.main(["consent", "verify", "--receipt", str(file)]) == 2
    assert wijkpols.main(["consent", "verify", "--receipt", str(tmp_path / "none")]) == 2
