"""Session metadata go by an erasure alone, and nothing else goes with them; tried as the owner of the tables."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from sql_tests.other_values import another, columns
from sql_tests.session_metadata import JENNY, erase, erased, pay, places
from sql_tests.settling import SETTLED, settle
from testkit.database import Connection
from testkit.shop import OrderGroup, Shop


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
    settle(service, group, status)
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
    settle(service, group := shop.order_group([[(1, "5")]]), "cancelled")
    put_word(owner, group)

    assert refused(owner, "public.order_groups", sql.SQL("stripe_session_metadata = '{}'"))


@pytest.mark.parametrize("status", SETTLED)
def test_shops_trigger_cannot_use_an_erasure_to_rewrite_an_event(
    service: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group([[(1, "5")]])
    settle(service, group, status)
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
