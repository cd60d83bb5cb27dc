"""A database that was restored into another project gets back what the migrations promised, by one statement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from local_stack import platform
from local_stack.binaries import find_bin_dir
from local_stack.platform import REGIMES, Regime
from sql_tests.conftest import janitor
from sql_tests.privilege_matrix import held_and_expected
from sql_tests.restoring import restore
from testkit.database import SUPERUSER, Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.payments import reconcile
from testkit.shop import Shop

ANON_MAY_PAY = "select has_function_privilege('anon', (select oid from pg_proc where proname = %s), 'execute')"
SERVER_MAY_WRITE_PAYMENTS = "select has_column_privilege('service_role', 'public.order_groups', 'paid_at', 'insert')"
PAID_GROUP = """
insert into public.order_groups (currency, total_amount, status, paid_at, stripe_webhook_event_id,
    stripe_webhook_received_at, stripe_payment_intent_id, stripe_checkout_session_id, stripe_session_metadata)
values ('USD', 9999, 'paid', now(), 'evt_1', now(), 'pi_1', 'cs_1', '{}')
"""
PAY_BY_HAND = """
update public.order_groups as g
set (status, paid_at, stripe_webhook_event_id, stripe_webhook_received_at, stripe_checkout_session_id,
    stripe_session_metadata) = (
    select status, paid_at, 'evt_1', stripe_webhook_received_at, 'cs_1', '{}'::jsonb
    from public.order_groups where id = %s
)
where g.id = %s
"""


@pytest.fixture(params=REGIMES, ids="into_{}".format)
def target(request: pytest.FixtureRequest, server: Database) -> Iterator[Database]:
    """A new project, without our migrations."""
    regime: Regime = request.param
    database = Database(f"target_{uuid4().hex[:12]}", server.host, server.port, server.password)
    with janitor(server, database.name):
        platform.install(database.dsn(SUPERUSER), regime=regime, password=server.password)
        with database.connect() as superuser:
            superuser.execute(f'alter database "{database.name}" owner to postgres')
        yield database


def findings(connection: Connection) -> list[dict[str, object]]:
    return connection.execute("select * from public.security_findings()").fetchall()


def url(database: Database) -> str:
    return database.url("USER").replace("USER", "{user}", 1)


@pytest.mark.parametrize("regime", REGIMES)
def test_restored_database_is_put_right_by_one_statement(
    db: Database, service: Connection, shop: Shop, target: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert reconcile(service, shop.order_group().payment())["outcome"] == "applied"
    restore(find_bin_dir(), url(db), url(target), tmp_path)

    with target.connect() as superuser, target.connect("postgres") as owner:
        if "into_legacy" in request.node.name:
            assert scalar(superuser, ANON_MAY_PAY, "reconcile_order_group_payment") is True
            assert scalar(superuser, SERVER_MAY_WRITE_PAYMENTS) is True
        wrong = findings(superuser)
        assert {str(row["finding"]) for row in wrong} <= {"unexpected_grant", "function_is_executable"}
        assert wrong

        owner.execute("select payments.restore_privileges()")

        assert findings(superuser) == []
        held, expected = held_and_expected(superuser)
        assert held == expected
        assert owner.execute("select * from payments.restore_privileges()").fetchall() == []
        assert broken_invariants(superuser) == []


def test_shops_server_that_was_granted_everything_still_pays_no_group_and_refunds_no_order(
    db: Database, superuser: Connection, service: Connection, owner: Connection, shop: Shop
) -> None:
    paid, pending = shop.order_group(), shop.order_group()
    assert reconcile(service, paid.payment())["outcome"] == "applied"
    owner.execute("grant all on public.order_groups, public.orders to service_role")
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="starts as pending"):
        service.execute(PAID_GROUP)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="starts as pending"):
        service.execute(PAY_BY_HAND, [paid.id, pending.id])
    with pytest.raises(psycopg.errors.CheckViolation, match="cannot go from paid to refunded"):
        service.execute("update public.orders set status = 'refunded' where order_group_id = %s", [paid.id])

    assert db.snapshot() == before
    owner.execute("select payments.restore_privileges()")
    held, expected = held_and_expected(superuser)
    assert held == expected


def test_only_the_owner_restores_privileges(service: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("select payments.restore_privileges()")


def test_what_the_project_has_granted_on_columns_of_its_own_stays(superuser: Connection, owner: Connection) -> None:
    owner.execute("alter table public.orders add column own_note text")
    owner.execute("grant update (own_note) on public.orders to authenticated")
    owner.execute("grant all on public.orders to authenticated")

    owner.execute("select payments.restore_privileges()")

    ask = "select has_column_privilege('authenticated', 'public.orders', %s, 'update')"
    assert scalar(superuser, ask, "own_note") is True
    assert scalar(superuser, ask, "status") is False
    assert findings(superuser) == []
