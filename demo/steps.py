"""The steps of the demo: the shop, the deliveries, and how rows are shown and compared with what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from demo.screen import Report
from demo.shop import DataApiShop, Item
from local_stack.stack import Stack
from testkit.relay_process import RelayProcess
from testkit.snapshot import Snapshot, changed_tables, snapshot
from testkit.stripe_events import Answer, deliver

KEYS_OF_AN_ANSWER = ["event_id", "order_group_id", "outcome", "reason", "received"]


@dataclass(frozen=True, slots=True)
class Demo:
    """What runs, and what is for sale."""

    stack: Stack
    relay: RelayProcess
    report: Report
    group_id: str
    amount_minor: int
    items: Sequence[Item]
    other_group_id: str
    other_amount_minor: int

    def deliver(self, body: bytes, *, signed: bytes | None = None) -> Answer:
        """Send the body, with the signature of `signed` where that is another one."""
        secret = self.stack.stripe_webhook_secret
        return deliver(self.relay.webhook_url, body, secret=secret, signed=signed)

    def expect_answer(
        self, answer: Answer, *, status: int, outcome: str, reason: str | None, group_id: str | None
    ) -> None:
        """Compare the whole answer."""
        self.report.expect(
            "The answer",
            [
                ("status", status, answer.status),
                ("outcome", outcome, answer.body.get("outcome")),
                ("reason", reason, answer.body.get("reason")),
                ("received", outcome != "refused", answer.body.get("received")),
                ("order group", group_id, answer.body.get("order_group_id")),
                ("keys", " ".join(KEYS_OF_AN_ANSWER), " ".join(sorted(answer.body))),
            ],
        )

    def state(self) -> Snapshot:
        """Every row of the project with the transaction that wrote it."""
        return snapshot(self.stack.dsn())

    def expect_changes(self, before: Snapshot, tables: Sequence[str]) -> None:
        """Which tables a delivery changed, judged by content and by `xmin` of every row."""
        changed = ", ".join(changed_tables(before, self.state())) or "none"
        self.report.expect("The database", [("tables changed", ", ".join(tables) or "none", changed)])


def open_demo(stack: Stack, relay: RelayProcess, report: Report) -> Demo:
    """Two sellers, five products with stock, a buyer, and two pending order groups."""
    report.step(
        "A shop",
        """Written over the Data API as service_role, as a shop's server would: two sellers, five products
        with a receipt of stock each, a buyer, and a pending order group with one order per seller.""",
    )
    shop = DataApiShop(stack)
    buyer = shop.buyer("ada@example.com")
    pottery, press = shop.seller("Potter & Daughters"), shop.seller("Letter Press")
    items = [
        Item(shop.product(pottery, "MUG", "Mug", "12.50", stock=40), 2),
        Item(shop.product(pottery, "BOWL", "Bowl", "19.90", stock=25), 1),
        Item(shop.product(pottery, "CUP", "Espresso cup", "9.95", stock=60), 3),
        Item(shop.product(press, "PRINT", "Print", "18.00", stock=10), 1),
        Item(shop.product(press, "CARD", "Postcard", "1.20", stock=500), 4),
    ]
    group_id, total = shop.pending_group(buyer, items)
    other_group_id, other_total = shop.pending_group(buyer, [Item(items[3].product, 1)])
    demo = Demo(stack, relay, report, group_id, int(total * 100), items, other_group_id, int(other_total * 100))
    show_group(demo, group_id)
    return demo


def show_group(demo: Demo, group_id: str) -> None:
    """Tables of the group and its orders."""
    with psycopg.connect(demo.stack.dsn()) as connection:
        groups = connection.execute(
            "select id, status, total_amount || ' ' || currency, stripe_webhook_event_id, stripe_payment_intent_id"
            " from public.order_groups where id = %s",
            (group_id,),
        ).fetchall()
        orders = connection.execute(
            "select s.name, o.status, o.total_amount, count(i.id), sum(i.quantity), o.paid_at is not null"
            " from public.orders o join public.sellers s on s.id = o.seller_id"
            " join public.order_items i on i.order_id = o.id"
            " where o.order_group_id = %s group by s.name, o.id order by s.name",
            (group_id,),
        ).fetchall()
    fields = ("id", "status", "total", "paid by event", "payment intent")
    demo.report.table("The order group", ("field", "value"), list(zip(fields, groups[0], strict=True)))
    demo.report.table("Its orders", ("seller", "status", "total", "items", "pieces", "paid_at set"), orders)


def show_stock(demo: Demo) -> None:
    """The ledger and what is on hand, compared with what was received and bought."""
    bought = {item.product.id: item for item in demo.items}
    with psycopg.connect(demo.stack.dsn()) as connection:
        ledger = connection.execute(
            "select p.name, l.entry_type, l.quantity_delta, l.stripe_webhook_event_id"
            " from public.inventory_ledger l join public.products p on p.id = l.product_id order by l.id"
        ).fetchall()
        levels = connection.execute("select product_id::text, on_hand from public.inventory_levels").fetchall()
        commits = connection.execute(
            "select count(*), count(distinct order_item_id) from public.inventory_ledger"
            " where entry_type = 'order_commit'"
        ).fetchone()
    demo.report.table(
        "The ledger: append-only, what is on hand is its sum", ("product", "entry", "+/-", "event"), ledger
    )
    on_hand = {str(product): int(level) for product, level in levels}
    expectations = [
        (item.product.name, item.product.stock - item.quantity, on_hand.get(product_id))
        for product_id, item in bought.items()
    ]
    demo.report.expect("Stock on hand", expectations)
    demo.report.expect("Ledger", [("commits, items committed", (len(bought), len(bought)), commits)])


def expect_group(demo: Demo, group_id: str, *, status: str, event_id: str | None) -> None:
    """The group's and its orders' status, and the event that paid them."""
    with psycopg.connect(demo.stack.dsn()) as connection:
        row = connection.execute(
            "select g.status, g.stripe_webhook_event_id, string_agg(distinct o.status, ' ')"
            " from public.order_groups g join public.orders o on o.order_group_id = g.id"
            " where g.id = %s group by g.id",
            (group_id,),
        ).fetchone()
    assert row is not None  # noqa: S101  for the type: a count has one row
    demo.report.expect(
        "The order group",
        [("group", status, row[0]), ("its orders", status, row[2]), ("event", event_id, row[1])],
    )
