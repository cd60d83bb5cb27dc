"""Session metadata of an order group are erased from everywhere at once, and neither come back nor go otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import IsolationLevel, sql

from sql_tests.other_values import another, columns
from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from sql_tests.settling import SETTLED, settle
from testkit.database import Connection, Database, Row, past_every_guard, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup, Shop

JENNY = "jenny@example.test"
KIM = "kim@example.test"
METADATA = ("session_metadata", "stripe_session_metadata")
TABLES: LiteralString = (
    "select c.oid::regclass::text as name from pg_class as c where c.relkind = 'r'"
    " and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) order by 1"
)


def everything(superuser: Connection) -> dict[str, list[Any]]:
    """All rows of all tables, as JSON."""
    superuser.execute("set search_path = ''")
    found = {}
    for table in superuser.execute(TABLES).fetchall():
        query = f"select to_jsonb(t) as row from {table['name']} as t order by t::pg_catalog.text"
        found[table["name"]] = [row["row"] for row in superuser.execute(query.encode()).fetchall()]
    return found


def places(superuser: Connection, said: str) -> dict[str, int]:
    """The tables whose rows hold a text, whatever the column, and how many rows."""
    counts = {table: sum(said in str(row) for row in rows) for table, rows in everything(superuser).items()}
    return {table: count for table, count in counts.items() if count}


def emptied(value: Any) -> Any:
    """The same without what Jenny's sessions said."""
    if isinstance(value, dict):
        return {key: {} if key in METADATA and JENNY in str(part) else emptied(part) for key, part in value.items()}
    return [emptied(part) for part in value] if isinstance(value, list) else value


def pay(service: Connection, payment: Payment, outcome: str, said: str = JENNY) -> Payment:
    payment = payment.but(session_metadata=(payment.session_metadata or {}) | {"email": said})
    answer = reconcile(service, payment)
    assert f"{answer['outcome']} {answer['reason'] or ''}".strip() == outcome
    return payment


def erase(connection: Connection, group_id: UUID | None, by: str | None = "ada", note: str | None = "asked to") -> Row:
    answer: Row = scalar(connection, "select public.erase_order_group_metadata(%s, %s, %s)", group_id, by, note)
    return answer


def erased(group: OrderGroup, count: int) -> Row:
    return {"outcome": "erased", "reason": None, "order_group_id": str(group.id), "emptied": count}


def unmatched(group: OrderGroup, reason: str, named: str) -> Payment:
    account = "acct_seller" if reason == "foreign_account" else None
    return group.payment().but(
        order_group_id=None, unmatched_reason=reason, account=account, session_metadata={"order_group_id": named}
    )


def long_life(service: Connection, group: OrderGroup, other: OrderGroup) -> list[Payment]:
    """Jenny's group and Kim's, with metadata wherever a payment can leave some."""
    paid = pay(service, group.payment(), "applied")
    kims = pay(service, other.payment(), "applied", KIM)
    twin = pay(service, paid.twin(), "already_paid")
    duplicate = pay(service, paid.rival(), "rejected duplicate_payment")
    # Two reasons of one event, the former one kept; and events that were another group's before, or are now.
    pay(service, wrong := paid.rival().but(amount_minor=1, amount="0.01"), "rejected amount_mismatch")
    wrong = pay(service, wrong.but(currency="eur"), "rejected currency_mismatch")
    pay(service, moved := wrong.rival(), "rejected currency_mismatch")
    pay(service, moved.but(order_group_id=other.id), "rejected currency_mismatch", KIM)
    nameless = unmatched(group, "conflicting_references", f" {group.id.hex.upper()} ")
    pay(service, nameless, "unmatched conflicting_references")
    theirs = pay(service, unmatched(group, "foreign_account", str(group.id)), "unmatched foreign_account")
    found = unmatched(group, "conflicting_references", str(group.id))
    pay(service, found, "unmatched conflicting_references")
    pay(service, found.but(order_group_id=other.id, unmatched_reason=None), "rejected duplicate_payment", KIM)
    pay(service, other.payment().but(event_id=paid.event_id), "rejected event_collision", KIM)
    collided = pay(service, group.payment().but(event_id=kims.event_id), "rejected event_collision")
    pay(service, unmatched(other, "conflicting_references", str(other.id)), "unmatched conflicting_references", KIM)
    case = scalar(
        service, "select id from public.list_payment_exceptions() where stripe_event_id = %s", duplicate.event_id
    )
    scalar(service, "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'seen')", case)
    scalar(service, "select public.reopen_payment_exception(%s, 'ada', 'not yet')", case)
    return [paid, twin, duplicate, wrong, theirs, collided, nameless]


def test_metadata_are_emptied_in_all_places_and_nothing_else_changes(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    long_life(service, group, other)
    before, kims = everything(superuser), places(superuser, KIM)
    began = scalar(superuser, "select clock_timestamp()")
    assert places(superuser, JENNY) == {
        "payments.exceptions": 7,
        "payments.stripe_events": 2,
        "public.order_groups": 1,
    }

    answer = erase(service, group.id, " ada ", " asked to ")

    (row,) = superuser.execute("select * from payments.metadata_erasures").fetchall()
    assert answer == erased(group, 10)
    assert places(superuser, JENNY) == {}
    assert places(superuser, KIM) == kims
    after = everything(superuser)
    word = after.pop("payments.metadata_erasures")
    assert before.pop("payments.metadata_erasures") == []
    # In any order: the rows are sorted by their texts.
    assert {table: sorted(map(str, rows)) for table, rows in after.items()} == {
        table: sorted(map(str, rows)) for table, rows in emptied(before).items()
    }
    assert row == {"order_group_id": group.id, "erased_at": row["erased_at"], "erased_by": "ada", "note": "asked to"}
    assert len(word) == 1
    assert began < row["erased_at"] < scalar(superuser, "select clock_timestamp()")
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


def test_erased_metadata_do_not_come_back_with_whatever_comes_again_or_later(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    sent = long_life(service, group, other)
    erase(service, group.id)
    before = everything(superuser)

    again = [reconcile(service, payment)["outcome"] for payment in sent]
    after = everything(superuser)
    pay(service, sent[0].twin(), "already_paid")
    pay(service, sent[0].rival(), "rejected duplicate_payment")
    pay(service, sent[0].rival().but(amount_minor=1, amount="0.01"), "rejected amount_mismatch")
    for reason in ("conflicting_references", "foreign_account"):
        pay(service, unmatched(group, reason, group.id.hex), f"unmatched {reason}")
    collision = pay(service, other.payment().but(event_id=sent[0].event_id), "rejected event_collision", KIM)
    pay(service, group.payment().but(event_id=collision.event_id), "rejected event_collision")

    assert again == ["replayed", "replayed", *["rejected"] * 2, "unmatched", "rejected", "unmatched"]
    # Not one of them is another payload now: what came again was counted, and its evidence stays as it is.
    counted = ("attempts", "last_seen_at")
    assert [{key: row[key] for key in row if key not in counted} for row in after.pop("payments.exceptions")] == [
        {key: row[key] for key in row if key not in counted} for row in before.pop("payments.exceptions")
    ]
    assert after == before
    assert places(superuser, JENNY) == {}
    named = superuser.execute(
        "select x.details ->> 'named_order_group_id' as id, count(*) as cases from payments.exceptions as x"
        " where x.order_group_id is null group by 1 order by 2"
    ).fetchall()
    assert named == [{"id": str(other.id), "cases": 1}, {"id": str(group.id), "cases": 4}]
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_metadata_of_a_group_without_payment_are_not_kept_later(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    if status == "cancelled":
        settle(service, owner, group, status)

    assert erase(service, group.id) == erased(group, 0)
    pay(service, group.payment(), {"pending": "applied", "cancelled": "rejected order_group_not_payable"}[status])

    assert places(superuser, JENNY) == {}
    metadata = scalar(superuser, "select stripe_session_metadata from public.order_groups where id = %s", group.id)
    assert metadata == ({} if status == "pending" else None)


def test_second_erasure_changes_nothing_and_keeps_the_first_word(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    pay(service, group.payment(), "applied")
    erase(service, group.id)
    before = db.snapshot()

    assert erase(service, group.id, "kim", "once more") == erased(group, 0)
    assert db.snapshot() == before


def test_second_erasure_empties_what_came_back_by_another_way(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """A row of an old backup, put in by hand."""
    group = shop.order_group()
    pay(service, payment := group.payment(), "applied")
    erase(service, group.id)
    with past_every_guard(superuser):
        superuser.execute(
            "update payments.stripe_events set session_metadata = %s", ['{"email": "jenny@example.test"}']
        )
    assert payment.event_id

    assert erase(service, group.id) == erased(group, 1)
    assert places(superuser, JENNY) == {}


@pytest.mark.parametrize(("by", "note"), [(None, "why"), (" ", "why"), ("ada", None), ("ada", " ")])
def test_erasure_says_by_whom_and_why(
    db: Database, service: Connection, shop: Shop, by: str | None, note: str | None
) -> None:
    group = shop.order_group()
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        erase(service, group.id, by, note)

    assert db.snapshot() == before


def test_unknown_group_leaves_no_word(db: Database, service: Connection, shop: Shop) -> None:
    pay(service, shop.order_group().payment(), "applied")
    before, unknown = db.snapshot(), uuid4()

    for group_id in (unknown, None):
        assert erase(service, group_id) == {
            "outcome": "rejected",
            "reason": "order_group_not_found",
            "order_group_id": str(group_id) if group_id else None,
            "emptied": 0,
        }
    assert db.snapshot() == before


def test_copy_that_an_older_release_kept_in_a_collision_is_emptied_too(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    paid = pay(service, group.payment(), "applied", KIM)
    pay(service, other.payment().but(event_id=paid.event_id), "rejected event_collision", KIM)
    superuser.execute(
        "update payments.exceptions set details = jsonb_set(details, '{expected}',"
        " (details -> 'expected') || jsonb_build_object('session_metadata', jsonb_build_object('email', %s::text)))",
        [JENNY],
    )

    erase(service, group.id)

    assert places(superuser, JENNY) == {}
    assert places(superuser, KIM) == {"payments.exceptions": 1}


def test_evidence_that_is_nested_deeply_is_no_obstacle(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    deep = "[" * 5000 + "]" * 5000
    payment = group.payment().but(order_group_id=None, unmatched_reason="malformed_reference", session_metadata={})
    reconcile(service, payment)
    superuser.execute(
        "update payments.exceptions set details = jsonb_build_object('earlier', '[]'::jsonb, 'received',"
        " jsonb_build_object('session_metadata', jsonb_build_object('deep', %s::jsonb)))",
        [deep],
    )

    assert erase(service, group.id)["emptied"] == 0


def test_story_tells_by_whom_the_metadata_were_erased(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    pay(service, group.payment(), "applied")
    erase(service, group.id)

    story = scalar(service, "select public.explain_order_group(%s)", group.id)

    at = scalar(superuser, "select to_jsonb(erased_at) from payments.metadata_erasures")
    assert story["timeline"][-1] == {
        "at": at,
        "kind": "metadata_erased",
        "erased_by": "ada",
        "note": "asked to",
        "rule": "erased session metadata are gone in all places, and later ones are not kept",
    }
    assert JENNY not in str(story)
    assert scalar(service, "select public.explain_order_group(%s)", shop.order_group().id)["timeline"][1:] == []


# guards: tried as the owner of the tables


def refused(owner: Connection, table: str, change: sql.Composable) -> bool:
    statement = sql.SQL("update {} set {} where true").format(sql.Identifier(*table.split(".")), change)
    try:
        with owner.transaction(force_rollback=True):
            assert owner.execute(statement).rowcount == 1
    except (psycopg.errors.InsufficientPrivilege, psycopg.IntegrityError):
        return True
    return False


def put_word(owner: Connection, group: OrderGroup) -> None:
    """The word of an erasure, and nothing emptied yet."""
    owner.execute("insert into payments.metadata_erasures values (%s, now(), 'ada', 'asked to')", [group.id])


@pytest.mark.parametrize("has_word", [True, False])
def test_recorded_event_loses_its_metadata_alone_and_only_on_a_word(
    service: Connection, owner: Connection, shop: Shop, has_word: bool
) -> None:
    pay(service, (group := shop.order_group()).payment(), "applied")
    put_word(owner, group if has_word else shop.order_group())
    own = columns(owner, "payments.stripe_events")
    # Types without an order, and one whose numbers are equal though their texts are not.
    owner.execute(
        "alter table payments.stripe_events drop constraint stripe_events_order_group_id_fkey,"
        " drop constraint stripe_events_source_is_known_check, drop constraint stripe_events_outcome_is_known_check,"
        " add own_json json default '{}', add own_point point default '(1,2)',"
        " add own_numeric numeric default 1.0, add own_text text"
    )
    values: dict[str, sql.Composable] = {
        **{column: another(column, type_) for column, type_ in own.items()},
        "own_json": sql.SQL("""'{"a": 1}'"""),
        "own_point": sql.SQL("'(2,1)'"),
        "own_numeric": sql.SQL("1.00"),
        "own_text": sql.SQL("'mine'"),
    }
    emptying = sql.SQL("session_metadata = '{}'")
    changes = {
        column: sql.SQL(", ").join(
            [sql.SQL("{} = {}").format(sql.Identifier(column), value)]
            + ([] if column == "session_metadata" else [emptying])
        )
        for column, value in values.items()
    }
    assert len(changes) == 20

    assert {
        column for column, change in changes.items() if not refused(owner, "payments.stripe_events", change)
    } == set()
    assert refused(owner, "payments.stripe_events", emptying) is not has_word
    assert refused(owner, "payments.stripe_events", sql.SQL("session_metadata = null")) is True


@pytest.mark.parametrize("has_word", [True, False])
@pytest.mark.parametrize("status", ["paid", "refunded"])
def test_settled_group_loses_its_metadata_alone_and_only_on_a_word(
    service: Connection, owner: Connection, shop: Shop, status: str, has_word: bool
) -> None:
    group = shop.order_group([[(1, "5")]])
    settle(service, owner, group, status)
    if has_word:
        put_word(owner, group)
    else:
        owner.execute("insert into payments.metadata_erasures values (gen_random_uuid(), now(), 'ada', 'another')")

    def is_refused(change: str) -> bool:
        return refused(owner, "public.order_groups", sql.SQL(change))

    assert is_refused("stripe_session_metadata = '{}'") is not has_word
    for change in ("null", "'{\"another\": 1}'", "'[]'"):
        assert is_refused(f"stripe_session_metadata = {change}"), change
    for column, type_ in columns(owner, "public.order_groups").items():
        if column != "stripe_session_metadata" and not column.startswith(("status", "buyer_id")):
            along = sql.SQL("{} = {}, stripe_session_metadata = '{{}}'").format(
                sql.Identifier(column), another(column, type_)
            )
            assert refused(owner, "public.order_groups", along), column


def test_cancelled_group_gets_no_metadata_by_an_erasure(service: Connection, owner: Connection, shop: Shop) -> None:
    settle(service, owner, group := shop.order_group([[(1, "5")]]), "cancelled")
    put_word(owner, group)

    assert refused(owner, "public.order_groups", sql.SQL("stripe_session_metadata = '{}'"))


@pytest.mark.parametrize("status", SETTLED)
def test_shops_trigger_cannot_use_an_erasure_to_rewrite_an_event(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group([[(1, "5")]])
    settle(service, owner, group, status)
    superuser.execute(
        "create function public.behind() returns trigger language plpgsql set search_path = '' as"
        " $$ begin new.amount := new.amount + 1; return new; end $$;"
        " create trigger z_last before update on payments.stripe_events for each row execute function public.behind()"
    )

    if status == "cancelled":
        assert erase(service, group.id) == erased(group, 0)
    else:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            erase(service, group.id)


def test_column_that_is_generated_from_metadata_follows_them(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    owner.execute(
        "alter table payments.stripe_events add own text generated always as (session_metadata ->> 'email') stored"
    )
    pay(service, (group := shop.order_group()).payment(), "applied")

    assert erase(service, group.id) == erased(group, 2)
    assert places(superuser, JENNY) == {}


# races


def told(call: Callable[[Connection], Row]) -> Callable[[Connection], str]:
    def answer(connection: Connection) -> str:
        try:
            return str(call(connection)["outcome"])
        except psycopg.Error as error:
            return str(error.sqlstate)

    return answer


def race(
    database: RaceDatabase,
    isolation: IsolationLevel,
    end: End,
    first: Callable[[Connection], Row],
    second: Callable[[Connection], Row],
) -> tuple[str, str]:
    """The first has acted, the second waits for it and acts once it has ended; again where that took its verdict."""
    one, other = database.rival(IsolationLevel.READ_COMMITTED), database.rival(isolation)
    one.start(told(first))
    answers = [one.answer()]
    other.begin()
    other.start(told(second))
    other.until_waiting_for(one)
    assert one.end(end) == end
    answer = other.answer()
    lost = answer in {"40001", "55P03"} or other.end("commit") == "40001"
    if lost:
        assert (end, isolation is IsolationLevel.READ_COMMITTED) == ("commit", False)
        other.connection.rollback()
        answer = told(second)(database.shop.service)
    database.dismiss()
    return answers[0], answer


LATE: dict[str, Callable[[OrderGroup], Payment]] = {
    "applied": OrderGroup.payment,
    "rejected": lambda group: group.payment().but(amount_minor=1, amount="0.01"),
    "unmatched": lambda group: unmatched(group, "conflicting_references", str(group.id)),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("first", "isolation"),
    [("payment", IsolationLevel.READ_COMMITTED), *(("erasure", isolation) for isolation in ISOLATIONS)],
)
@pytest.mark.parametrize("outcome", LATE)
@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_erasure_and_payment_wait_for_each_other_and_no_metadata_stay(
    database: RaceDatabase, isolation: IsolationLevel, end: End, outcome: str, first: str, status: str
) -> None:
    group = database.shop.order_group()
    said = f"{uuid4()}@example.test"
    payment = LATE[outcome](group)
    payment = payment.but(session_metadata={"email": said} | (payment.session_metadata or {}))
    if status == "cancelled":
        scalar(database.shop.service, "select public.cancel_order_group(%s)", group.id)
    expected = {
        "erasure": "erased",
        "payment": "rejected" if (outcome, status) == ("applied", "cancelled") else outcome,
    }
    calls: dict[str, Callable[[Connection], Row]] = {
        "erasure": lambda connection: erase(connection, group.id),
        "payment": lambda connection: reconcile(connection, payment),
    }
    second = "payment" if first == "erasure" else "erasure"

    answers = race(database, isolation, end, calls[first], calls[second])

    assert answers == (expected[first], expected[second])
    kept = (first, end) == ("erasure", "rollback")
    assert bool(places(database.observer, said)) is kept
    words = scalar(
        database.observer, "select count(*) from payments.metadata_erasures as e where e.order_group_id = %s", group.id
    )
    assert words == (0 if kept else 1)
    database.assert_sound()


@pytest.mark.parametrize("isolation", ISOLATIONS[1:])
def test_erasure_that_would_overlook_a_rival_is_refused(database: RaceDatabase, isolation: IsolationLevel) -> None:
    group = database.shop.order_group()
    eraser = database.rival(isolation)

    with pytest.raises(psycopg.errors.InvalidTransactionState):
        erase(eraser.connection, group.id)

    assert eraser.end("rollback") == "rollback"
    database.dismiss()


@pytest.mark.parametrize("end", ENDS)
def test_two_erasures_at_once_leave_one_word(database: RaceDatabase, end: End) -> None:
    group = database.shop.order_group()
    pay(database.shop.service, group.payment(), "applied", said := f"{uuid4()}@example.test")

    answers = race(
        database,
        IsolationLevel.READ_COMMITTED,
        end,
        lambda connection: erase(connection, group.id, "ada"),
        lambda connection: erase(connection, group.id, "kim"),
    )

    assert answers == ("erased", "erased")
    word = "select erased_by from payments.metadata_erasures where order_group_id = %s"
    assert database.observer.execute(word, [group.id]).fetchall() == [
        {"erased_by": "ada" if end == "commit" else "kim"}
    ]
    assert places(database.observer, said) == {}


@pytest.mark.parametrize("end", ENDS)
def test_erasure_waits_for_the_event_that_moves_its_metadata_among_the_former_reasons(
    database: RaceDatabase, end: End
) -> None:
    group, other = database.shop.order_group(), database.shop.order_group()
    said = f"{uuid4()}@example.test"
    first = pay(database.shop.service, group.payment().but(currency="eur"), "rejected currency_mismatch", said)
    moved = first.but(order_group_id=other.id, session_metadata={})

    answers = race(
        database,
        IsolationLevel.READ_COMMITTED,
        end,
        lambda connection: reconcile(connection, moved),
        lambda connection: erase(connection, group.id),
    )

    assert answers == ("rejected", "erased")
    assert places(database.observer, said) == {}
