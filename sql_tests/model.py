"""A plain Python model of order groups, payments and stock, and the look at the database to compare it with.

The model knows the contract and nothing of the SQL: what it predicts for actions one after another is what the
database must show after them, whatever ran beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from testkit.database import Connection, Row
from testkit.payments import EXPONENTS, Payment

FROZEN = "23514"  # the SQLSTATE of an edit that comes too late
CLOSED_ALREADY = "55000"
REFUND_RANKS = {"pending": 0, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3}
PATH = ("paid", "fulfilled", "shipped", "delivered")
KNOWN_CURRENCIES = {"USD", "EUR", "JPY", "KWD", "ISK"}
CENTLESS = {"ISK": 100, "UGX": 100}  # minor units must be a multiple of this

World = dict[str, dict[Any, Any]]


@dataclass(slots=True)
class Item:
    order_id: UUID
    product_id: UUID
    quantity: int


@dataclass(slots=True)
class Order:
    group_id: UUID
    total: Decimal
    status: str = "pending"


@dataclass(slots=True)
class Group:
    currency: str
    total: Decimal
    status: str = "pending"
    paid_by: Payment | None = None
    promises: bool = False
    buyer_id: UUID | None = None
    had_buyer: bool = False
    is_erased: bool = False
    is_due: bool = False
    """Its time has passed."""
    awaited_by: str | None = None
    """The event that said that its money is under way."""
    refunds: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Refunds of the payment that has paid it: minor units and status."""
    went_along: dict[UUID, str] = field(default_factory=dict)
    """Where the orders were that all of its money took along."""

    @property
    def total_minor(self) -> int:
        return int(self.total.scaleb(EXPONENTS.get(self.currency, 2)))

    def minor_back(self, *statuses: str) -> int:
        return sum(minor for minor, status in self.refunds.values() if status in statuses)


@dataclass(slots=True)
class Case:
    """An exception: money that needs a person."""

    event: Payment
    reason: str
    attempts: int = 1
    resolution: str | None = None


@dataclass(slots=True)
class Model:
    groups: dict[UUID, Group] = field(default_factory=dict)
    orders: dict[UUID, Order] = field(default_factory=dict)
    items: dict[UUID, Item] = field(default_factory=dict)
    events: dict[str, tuple[Payment, str]] = field(default_factory=dict)
    cases: dict[str, Case] = field(default_factory=dict)
    commits: dict[UUID, tuple[UUID, int, str]] = field(default_factory=dict)
    returned: dict[UUID, int] = field(default_factory=dict)
    """Pieces that came back, by item."""
    moved: dict[UUID, int] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)

    def copy(self) -> Model:
        return deepcopy(self)

    def adopt(self, connection: Connection, group_id: UUID) -> None:
        """Takes a pending group over from the database, as it was made there."""
        group = _one(connection, "select * from public.order_groups where id = %s", group_id)
        assert group["status"] == "pending"
        promises = group["reserved_product_ids"] is not None
        is_due = group["expires_at"] is not None and group["expires_at"] <= datetime.now(UTC)
        self.groups[group_id] = Group(
            group["currency"],
            group["total_amount"],
            promises=promises,
            buyer_id=group["buyer_id"],
            had_buyer=group["buyer_since"] is not None,
            is_due=is_due,
            awaited_by=group["awaiting_funds_event_id"],
        )
        for order in connection.execute("select * from public.orders where order_group_id = %s", [group_id]):
            self.orders[order["id"]] = Order(group_id, order["total_amount"])
            for item in connection.execute("select * from public.order_items where order_id = %s", [order["id"]]):
                self.items[item["id"]] = Item(order["id"], item["product_id"], item["quantity"])
                if item["product_id"] not in self.moved:
                    level = "select on_hand from public.inventory_levels where product_id = %s"
                    self.moved[item["product_id"]] = _one(connection, level, item["product_id"])["on_hand"]

    def orders_of(self, group_id: UUID) -> dict[UUID, Order]:
        return {key: order for key, order in self.orders.items() if order.group_id == group_id}

    def items_of(self, group_id: UUID) -> dict[UUID, Item]:
        orders = self.orders_of(group_id)
        return {key: item for key, item in self.items.items() if item.order_id in orders}

    # what may happen

    def pay(self, payment: Payment) -> str:
        """The verdict, `outcome` or `outcome reason`, and its effects."""
        payment = payment.but(session_metadata=self._kept_metadata(payment))
        assert payment.event_id is not None
        self.tried.add(payment.event_id)
        if known := self.events.get(payment.event_id):
            if _payload(known[0]) == _payload(payment):
                return "replayed"
            return self._set_aside(payment, "rejected", "event_collision")
        case = self.cases.get(payment.event_id)
        if case and case.resolution not in {None, "reconciled"}:
            return "resolved"
        reason = payment.unmatched_reason or self._reason_against(payment)
        if reason and case and case.resolution:
            return "resolved"  # its payment was applied under another event
        if reason:
            return self._set_aside(payment, "unmatched" if payment.unmatched_reason else "rejected", reason)
        assert payment.order_group_id is not None
        group = self.groups[payment.order_group_id]
        outcome = "applied" if group.status == "pending" else "already_paid"
        if outcome == "applied" and (closed := self._sent_back(payment)):
            self._set_aside(payment, "rejected", closed.reason)
            self.cases[payment.event_id].resolution = closed.resolution
            return "resolved"
        self.events[payment.event_id] = (payment, outcome)
        for other in [case, *self._cases_of(payment)] if outcome == "applied" else [case]:
            if other and not other.resolution:
                other.resolution = "reconciled"
        if outcome == "applied":
            group.status, group.paid_by = "paid", payment
            for order in self.orders_of(payment.order_group_id).values():
                order.status = "paid"
            for item_id, item in self.items_of(payment.order_group_id).items():
                self.commits[item_id] = (item.product_id, -item.quantity, payment.event_id)
                self.moved[item.product_id] -= item.quantity
        return outcome

    def create(
        self,
        group_id: UUID,
        buyer_id: UUID,
        currency: str,
        asked: dict[UUID, Order],
        items: dict[UUID, Item],
        promises: bool,
    ) -> str:
        """A basket of known ids becomes a pending group, unless it is one already or the stock does not suffice."""
        if known := self.groups.get(group_id):
            is_same = (known.currency, known.promises) == (currency, promises) and {
                key: order.total for key, order in asked.items()
            } == {key: order.total for key, order in self.orders_of(group_id).items()}
            if is_same and items == self.items_of(group_id):
                return "already_created"
            return "rejected order_group_differs"
        wanted = Counter[UUID]()
        for item in items.values():
            wanted[item.product_id] += item.quantity
        if promises and any(
            self.moved.get(product, 0) - self.reserved(product) < quantity for product, quantity in wanted.items()
        ):
            return "rejected insufficient_stock"
        total = sum((order.total for order in asked.values()), Decimal(0))
        self.groups[group_id] = Group(currency, total, promises=promises, buyer_id=buyer_id, had_buyer=True)
        self.orders |= asked
        self.items |= items
        for product in wanted:
            self.moved.setdefault(product, 0)
        return "created"

    def reserved(self, product_id: UUID) -> int:
        """Pieces that pending groups were promised."""
        return sum(
            item.quantity
            for item in self.items.values()
            if item.product_id == product_id
            and (group := self.groups[self.orders[item.order_id].group_id]).promises
            and group.status == "pending"
            and (group.awaited_by or not group.is_due)
        )

    def cancel(self, group_id: UUID, *, ended_another: bool = False) -> str:
        """`ended_another`: because a session has ended that is not the one of any notice."""
        group = self.groups[group_id]
        if group.status == "cancelled":
            return "already_cancelled"
        if group.status != "pending":
            return "rejected order_group_not_pending"
        if ended_another and group.awaited_by:
            return "rejected order_group_awaits_another_session"
        group.status = "cancelled"
        for order in self.orders_of(group_id).values():
            order.status = "cancelled"
        return "cancelled"

    def advance(self, order_id: UUID, status: str) -> str:
        order = self.orders[order_id]
        if (order.status, status) not in pairwise(PATH):
            return "rejected order_status_moves_forward"
        order.status = status
        return "moved"

    def give_back(self, group_id: UUID, lines: dict[UUID, int]) -> str:
        """All lines or none, whatever became of the money."""
        if self.groups[group_id].status not in {"paid", "refunded"}:
            return "rejected order_group_not_paid"
        items = self.items_of(group_id)
        if not lines.keys() <= items.keys():
            return "rejected item_not_in_order_group"
        if any(quantity > self.returnable(item_id) for item_id, quantity in lines.items()):
            return "rejected exceeds_commit"
        for item_id, quantity in lines.items():
            self.returned[item_id] = self.returned.get(item_id, 0) + quantity
            self.moved[items[item_id].product_id] += quantity
        return "returned"

    def returnable(self, item_id: UUID) -> int:
        return -self.commits[item_id][1] - self.returned.get(item_id, 0)

    def give_up(self, order_id: UUID, *, goods_return: bool) -> str:
        """An order is refunded, and what is still out of it comes back; the group's money is another fact."""
        order = self.orders[order_id]
        if order.status == "refunded":
            return "already_refunded"
        if self.groups[order.group_id].status != "paid":
            return "rejected order_group_not_paid"
        order.status = "refunded"
        if goods_return:
            lines = {key: self.returnable(key) for key, item in self.items.items() if item.order_id == order_id}
            self.give_back(order.group_id, lines)
        return "refunded"

    def refund(self, group_id: UUID, refund_id: str, minor: int, status: str) -> str:
        """A refund of the payment that has paid the group, which fits it: all of it takes the orders along."""
        group, orders = self.groups[group_id], self.orders_of(group_id)
        known = group.refunds.get(refund_id)
        if known and REFUND_RANKS[status] <= REFUND_RANKS[known[1]]:
            return "replayed"
        group.refunds[refund_id] = (minor, status)
        is_all = group.minor_back("succeeded") == group.total_minor
        if is_all and group.status == "paid":
            group.status = "refunded"
            group.went_along = {key: order.status for key, order in orders.items() if order.status != "refunded"}
            for key in group.went_along:
                orders[key].status = "refunded"
        elif not is_all and group.status == "refunded":
            group.status = "paid"
            for key, status_before in group.went_along.items():
                orders[key].status = status_before
        return "recorded"

    def claim(self, group_id: UUID, buyer_id: UUID) -> str:
        group = self.groups[group_id]
        if group.buyer_id == buyer_id:
            return "already_claimed"
        if group.had_buyer:
            return "rejected order_group_has_buyer"
        group.buyer_id, group.had_buyer = buyer_id, True
        return "claimed"

    def erase(self, group_id: UUID) -> str:
        """Empties what the sessions of a group's payments said, and of those that only named it."""
        self.groups[group_id].is_erased = True
        for event_id, (event, outcome) in self.events.items():
            self.events[event_id] = (event.but(session_metadata=self._kept_metadata(event)), outcome)
        for case in self.cases.values():
            case.event = case.event.but(session_metadata=self._kept_metadata(case.event))
        return "erased"

    def note(self, group_id: UUID, event_id: str) -> str:
        group = self.groups[group_id]
        if group.status != "pending":
            return "ignored order_group_not_pending"
        if group.awaited_by:
            return "already_noted"
        group.awaited_by = event_id
        return "noted"

    def expire(self) -> str:
        """Nobody beside it holds a group, and the limit is not reached."""
        expired = [
            group_id
            for group_id, group in self.groups.items()
            if group.status == "pending" and group.is_due and not group.awaited_by
        ]
        for group_id in expired:
            self.cancel(group_id)
        return f"expired {len(expired)}, left 0"

    def resolve(self, event_id: str, resolution: str) -> str:
        case = self.cases[event_id]
        has_paid = case.reason != "foreign_account" and any(
            outcome == "applied" and _is_same_payment(case.event, known) for known, outcome in self.events.values()
        )
        if case.resolution is not None or (resolution == "refunded" and has_paid):
            return CLOSED_ALREADY
        case.resolution = resolution
        return "resolved"

    def move(self, product_id: UUID, quantity_delta: int) -> str:
        self.moved[product_id] = self.moved.get(product_id, 0) + quantity_delta
        return "done"

    def is_frozen(self, group_id: UUID) -> bool:
        return self.groups[group_id].status != "pending"

    # the contract's rules

    def _reason_against(self, payment: Payment) -> str | None:
        """The first rule of the contract that the payment breaks."""
        group_id = payment.order_group_id
        if group_id not in self.groups:
            return "order_group_not_found"
        group, orders, items = self.groups[group_id], self.orders_of(group_id), self.items_of(group_id)
        if group.status == "cancelled" or (group.status == "refunded" and not _is_same_payment(payment, group.paid_by)):
            return "order_group_not_payable"
        if not orders or set(orders) != {item.order_id for item in items.values()}:
            return "order_group_empty"
        if payment.amount_minor is None or payment.amount is None or payment.amount_minor < 0:
            return "amount_missing"
        currency = (payment.currency or "").strip().upper()
        if currency not in KNOWN_CURRENCIES:
            return "currency_unsupported"
        if not _agrees(payment.amount_minor, Decimal(payment.amount), currency):
            return "amount_normalization_mismatch"
        if currency != group.currency:
            return "currency_mismatch"
        if Decimal(payment.amount) != group.total:
            return "amount_mismatch"
        if sum((order.total for order in orders.values()), Decimal(0)) != group.total:
            return "totals_inconsistent"
        if group.status == "paid" and not _is_same_payment(payment, group.paid_by):
            return "duplicate_payment"
        if any(
            outcome == "applied" and known.order_group_id != group_id and _is_same_payment(payment, known)
            for known, outcome in self.events.values()
        ):
            return "payment_already_used"
        return None

    def _kept_metadata(self, payment: Payment) -> dict[str, Any]:
        """What is kept of the session's metadata: nothing where those of its order group were erased."""
        metadata = payment.session_metadata or {}
        named = metadata.get("order_group_id")
        group_id = payment.order_group_id or (UUID(named) if named else None)
        return {} if group_id in self.groups and self.groups[group_id].is_erased else metadata

    def _sent_back(self, payment: Payment) -> Case | None:
        """The first closed case of this payment whose money an operator has sent back."""
        return next((case for case in self._cases_of(payment) if case.resolution == "refunded"), None)

    def _cases_of(self, payment: Payment) -> list[Case]:
        """The cases of the payment's events, in the order of their first delivery, without other accounts' money."""
        return [
            case
            for case in self.cases.values()
            if _is_same_payment(payment, case.event)
            and (case.reason != "foreign_account" or case.event.account == payment.account)
        ]

    def _set_aside(self, payment: Payment, outcome: str, reason: str) -> str:
        assert payment.event_id is not None
        case = self.cases.get(payment.event_id)
        if case is None:
            self.cases[payment.event_id] = Case(payment, reason)
        elif case.resolution not in {None, "reconciled"}:
            return "resolved"
        else:
            case.event, case.reason, case.attempts, case.resolution = payment, reason, case.attempts + 1, None
        return f"{outcome} {reason}"

    # the comparison

    def world(self) -> World:
        """All that the database must show of this model's groups, events and products."""
        return {
            "groups": {
                key: (
                    group.status,
                    group.total,
                    group.paid_by.event_id if group.paid_by else None,
                    group.buyer_id,
                    group.had_buyer,
                    self._metadata_of(group),
                    group.awaited_by,
                    Decimal(group.minor_back("succeeded")).scaleb(-EXPONENTS.get(group.currency, 2)),
                )
                for key, group in self.groups.items()
            },
            "orders": {key: (order.group_id, order.status, order.total) for key, order in self.orders.items()},
            "items": {key: (item.order_id, item.product_id, item.quantity) for key, item in self.items.items()},
            "events": {
                key: (event.order_group_id, outcome, event.session_metadata)
                for key, (event, outcome) in self.events.items()
            },
            "exceptions": {
                key: (case.reason, case.attempts, case.resolution, case.event.session_metadata)
                for key, case in self.cases.items()
            },
            "commits": dict(self.commits),
            "returned": {item_id: pieces for item_id, pieces in self.returned.items() if pieces},
            "stock": {product: (pieces, self.reserved(product)) for product, pieces in self.moved.items()},
        }

    def _metadata_of(self, group: Group) -> dict[str, Any] | None:
        if group.paid_by is None:
            return None
        assert group.paid_by.event_id is not None
        return self.events[group.paid_by.event_id][0].session_metadata

    def observe(self, connection: Connection) -> World:
        """The same of the database, whatever else it holds."""
        groups = list(self.groups)
        return {
            "groups": _keyed(
                connection.execute(
                    "select id, status, total_amount, stripe_webhook_event_id, buyer_id, buyer_since is not null,"
                    " stripe_session_metadata, awaiting_funds_event_id, refunded_amount from public.order_groups"
                    " where id = any(%s)",
                    [groups],
                )
            ),
            "orders": _keyed(
                connection.execute(
                    "select id, order_group_id, status, total_amount from public.orders where order_group_id = any(%s)",
                    [groups],
                )
            ),
            "items": _keyed(
                connection.execute(
                    "select i.id, i.order_id, i.product_id, i.quantity from public.order_items as i"
                    " join public.orders as o on o.id = i.order_id where o.order_group_id = any(%s)",
                    [groups],
                )
            ),
            "events": _keyed(
                connection.execute(
                    "select id, order_group_id, outcome, session_metadata from payments.stripe_events"
                    " where order_group_id = any(%s) or id = any(%s)",
                    [groups, list(self.tried)],
                )
            ),
            "exceptions": _keyed(
                connection.execute(
                    "select stripe_event_id, reason, attempts, resolution, details -> 'received' -> 'session_metadata'"
                    " from payments.exceptions"
                    " where order_group_id = any(%s) or stripe_event_id = any(%s)",
                    [groups, list(self.tried)],
                )
            ),
            "commits": _keyed(
                connection.execute(
                    "select order_item_id, l.product_id, quantity_delta, stripe_webhook_event_id"
                    " from public.inventory_ledger as l join public.order_items as i on i.id = l.order_item_id"
                    " join public.orders as o on o.id = i.order_id"
                    " where o.order_group_id = any(%s) and l.entry_type = 'order_commit'",
                    [groups],
                )
            ),
            "returned": _keyed(
                connection.execute(
                    "select order_item_id, sum(quantity_delta) from public.inventory_ledger as l"
                    " join public.order_items as i on i.id = l.order_item_id"
                    " where i.order_group_id = any(%s) and l.entry_type = 'order_return' group by 1",
                    [groups],
                )
            ),
            "stock": _keyed(
                connection.execute(
                    "select product_id, on_hand, reserved from public.inventory_levels where product_id = any(%s)",
                    [list(self.moved)],
                )
            ),
        }


def fingerprint(connection: Connection) -> list[Row]:
    """Rows and writing transactions per table: equal fingerprints mean that not one row was written."""
    return connection.execute(_FINGERPRINT).fetchall()


_FINGERPRINT = " union all ".join(
    f"select '{table}' as name, count(*) as rows, sum(t.xmin::text::bigint) as writers from {table} as t"
    for table in (
        "public.order_groups",
        "public.orders",
        "public.order_items",
        "public.inventory_ledger",
        "payments.stripe_events",
        "payments.exceptions",
        "payments.refunds",
        "payments.refund_status_changes",
    )
).encode()


def _payload(payment: Payment) -> tuple[Any, ...]:
    """What makes two deliveries of one id the same event; neither derived values nor our own source do."""
    return (
        payment.event_type,
        payment.event_created,
        payment.livemode,
        payment.order_group_id,
        payment.checkout_session_id,
        payment.payment_intent_id,
        payment.amount_minor,
        (payment.currency or "").strip().upper(),
        payment.account,
    )


def _is_same_payment(one: Payment, other: Payment | None) -> bool:
    if other is None:
        return False
    return one.checkout_session_id == other.checkout_session_id or (
        one.payment_intent_id is not None and one.payment_intent_id == other.payment_intent_id
    )


def _agrees(minor: int, major: Decimal, currency: str) -> bool:
    return major.scaleb(EXPONENTS.get(currency, 2)) == minor and minor % CENTLESS.get(currency, 1) == 0


def _keyed(rows: Iterable[Row]) -> dict[Any, Any]:
    """First column -> the others; a key that comes twice stays visible as another one."""
    found: dict[Any, Any] = {}
    for row in rows:
        key, *values = row.values()
        while key in found:
            key = ("again", key)
        found[key] = values[0] if len(values) == 1 else tuple(values)
    return found


def _one(connection: Connection, query: Any, *values: Any) -> Row:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row
