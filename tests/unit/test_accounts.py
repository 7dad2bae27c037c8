"""Secrets of the volunteer's pages: hashed slowly, checked alike, good for one volunteer."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from api.accounts import SESSION_S, Accounts, Cost, csrf_of, fit_secret
from api.tables import WEB_SECRETS, WEB_SESSIONS
from tests.api_support import CHOICES, ManualClock, registry_for

SECRET = "paard batterij nietje"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def accounts(tmp_path: Path, clock: ManualClock) -> Accounts:
    return Accounts(registry_for(tmp_path, clock=clock).engine, clock=clock, cost=Cost(n=16, r=8, p=1))


def enrolled(tmp_path: Path, accounts: Accounts, serial: str = "WP-000001") -> tuple[str, str]:
    """Pseudonym and recovery words."""
    ledger = registry_for(tmp_path).ledger
    prepared = accounts.prepare(SECRET)
    done = ledger.enrol(
        ledger.add_band(serial),
        district="WK034403",
        adult=True,
        language="nl",
        choices=CHOICES,
        also=lambda connection, pseudonym: accounts.write(connection, pseudonym, prepared),
    )
    return done.record.principal_id, prepared.words


def test_neither_secret_words_nor_token_is_kept_as_it_is(tmp_path: Path, accounts: Accounts) -> None:
    pseudonym, words = enrolled(tmp_path, accounts)
    token = accounts.log_in(pseudonym, SECRET)
    assert token is not None
    with registry_for(tmp_path).engine.connect() as connection:
        kept = str(connection.execute(select(WEB_SECRETS)).all()) + str(connection.execute(select(WEB_SESSIONS)).all())
    for text in (SECRET, words, words.replace("-", ""), token, csrf_of(token)):
        assert text not in kept


def test_a_secret_opens_one_volunteers_pages_only(tmp_path: Path, accounts: Accounts) -> None:
    one, _ = enrolled(tmp_path, accounts)
    token = accounts.log_in(one, SECRET)
    assert token is not None
    assert accounts.pseudonym_of(token) == one
    assert accounts.log_in(one, "iets anders") is None
    assert accounts.log_in(None, SECRET) is None
    assert accounts.log_in("a" * 26, SECRET) is None
    assert accounts.pseudonym_of("x" * 43) is None


def test_an_unknown_volunteer_costs_one_hash_of_the_same_size(
    tmp_path: Path, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = enrolled(tmp_path, accounts)
    costs: list[Cost] = []
    digest = accounts._digest

    def counted(text: str, salt: bytes, cost: Cost) -> bytes:
        costs.append(cost)
        return digest(text, salt, cost)

    monkeypatch.setattr(accounts, "_digest", counted)
    for pseudonym in (one, None):
        costs.clear()
        assert accounts.log_in(pseudonym, "geraden") is None
        assert costs == [Cost(n=16, r=8, p=1)]


def test_the_default_cost_is_that_of_owasp() -> None:
    assert Cost() == (2**14, 8, 5)


def test_recovery_words_work_once_and_only_their_own(tmp_path: Path, accounts: Accounts) -> None:
    one, words = enrolled(tmp_path, accounts)
    other, _ = enrolled(tmp_path, accounts, "WP-000002")
    assert accounts.recover(other, words, "nieuw geheim hier") is None
    assert accounts.recover(None, words, "nieuw geheim hier") is None
    again = accounts.recover(one, words, "nieuw geheim hier")
    assert again is not None
    assert accounts.recover(one, words, "nog een ander geheim") is None
    assert accounts.log_in(one, SECRET) is None
    assert accounts.log_in(one, "nieuw geheim hier") is not None


def test_a_volunteer_has_ten_sessions_at_most_and_each_ends(
    tmp_path: Path, accounts: Accounts, clock: ManualClock
) -> None:
    one, _ = enrolled(tmp_path, accounts)
    tokens = []
    for _ in range(12):
        clock.time += 1
        tokens.append(accounts.open(one))
    assert [accounts.pseudonym_of(token) is not None for token in tokens] == [False] * 2 + [True] * 10
    clock.time += SESSION_S
    assert accounts.pseudonym_of(tokens[-1]) is None


@pytest.mark.parametrize(
    ("secret", "fit"),
    [("kort", False), ("aaaaaaaaaaaa", False), ("12345678", True), ("x" * 201, False), (SECRET, True)],
)
def test_a_secret_is_long_enough_and_no_letter_all_over_again(secret: str, fit: bool) -> None:
    assert fit_secret(secret) is fit
