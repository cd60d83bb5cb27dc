"""What somebody may do to an order group: each action done to the database and predicted by the model.

The answer is a short text: the outcome (with its reason), or the SQLSTATE of an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal, Protocol
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg.types.json import Jsonb

from sql_tests.model import FROZEN, Item, Model, Order
from testkit.database import Connection, scalar
from testkit.order_group_requests import OrderGroupRequest, line
from testkit.payments import Payment, reconcile, reconcile_together
from testkit.refunds import Refund, record
from testkit.shop import Shop

Actor = Literal["service_role", "postgres"]  # the shop's server, or the owner, who may edit carts by hand
LOCK_TIMEOUT = "55P03"
SERIALIZATION_FAILURE = "40001"
DONE = "done"


class Action(Protocol):
    actor: ClassVar[Actor]

    def perform(self, connection: Connection) -> str: ...

    def predict(self, model: Model) -> str: ...


def attempt(connection: Connection, action: Action) -> str:
    """Performs an action; an error of the database is an answer too."""
    try:
        return action.perform(connection)
    except psycopg.Error as error:
        return error.sqlstate or "connection lost"


@dataclass(frozen=True, slots=True)
class Pay:
    actor: ClassVar[Actor] = "service_role"
    payment: Payment

    def perform(self, connection: Connection) -> str:
        verdict = reconcile(connection, self.payment)
        return f"{verdict['outcome']} {verdict['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.pay(self.payment)


@dataclass(frozen=True, slots=True)
class PayTogether:
    """Payments in one call; those that are deferred go alone after it, as the relay sends them."""

    actor: ClassVar[Actor] = "service_role"
    payments: tuple[Payment, ...]

    def perform(self, connection: Connection) -> str:
        words: list[str] = []
        for payment, answer in zip(self.payments, reconcile_together(connection, self.payments), strict=True):
            verdict = reconcile(connection, payment) if answer["outcome"] == "deferred" else answer
            words.append(f"{verdict['outcome']} {verdict['reason'] or ''}".strip())
        return ", ".join(words)

    def predict(self, model: Model) -> str:
        answers = {place: model.pay(payment) for place, payment in sorted(enumerate(self.payments), key=_turn)}
        return ", ".join(answers[place] for place in range(len(self.payments)))


def _turn(placed: tuple[int, Payment]) -> tuple[bool, UUID | str | None, int]:
    """When a payment of a batch is judged: by the group that it names; after those that name one, by its event's id."""
    place, payment = placed
    named = payment.order_group_id or (payment.session_metadata or {}).get("order_group_id")
    return (False, UUID(str(named)), place) if named else (True, payment.event_id, place)


@dataclass(frozen=True, slots=True)
class Create:
    """A basket: each of its items, with an order of its own, costs one unit of the currency."""

    actor: ClassVar[Actor] = "service_role"
    shop: Shop
    currency: str
    lines: tuple[tuple[int, int, int], ...]  # place of the seller, place of the product, quantity
    promises: bool
    group_id: UUID = field(default_factory=uuid4)

    def _ids(self) -> list[tuple[UUID, UUID]]:
        return [(uuid5(self.group_id, f"order {n}"), uuid5(self.group_id, f"item {n}")) for n in range(len(self.lines))]

    def perform(self, connection: Connection) -> str:
        orders = [
            {
                "id": str(order_id),
                "seller_id": str(self.shop.sellers[seller].id),
                "total_amount": "1",
                "items": [line(self.shop.sellers[seller].product_ids[product], quantity, "0", id=str(item_id))],
            }
            for (order_id, item_id), (seller, product, quantity) in zip(self._ids(), self.lines, strict=True)
        ]
        answer = OrderGroupRequest(
            order_group_id=self.group_id,
            buyer_id=self.shop.buyer_id,
            currency=self.currency,
            orders=orders,
            reserve=self.promises,
        ).send(connection)
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        ids = self._ids()
        orders = {order_id: Order(self.group_id, Decimal(1)) for order_id, _ in ids}
        items = {
            item_id: Item(order_id, self.shop.sellers[seller].product_ids[product], quantity)
            for (order_id, item_id), (seller, product, quantity) in zip(ids, self.lines, strict=True)
        }
        return model.create(self.group_id, self.shop.buyer_id, self.currency, orders, items, self.promises)


@dataclass(frozen=True, slots=True)
class Cancel:
    actor: ClassVar[Actor] = "service_role"
    group_id: UUID
    ended_another: bool = False
    """Because a session has ended that is not the one of any notice."""

    def perform(self, connection: Connection) -> str:
        ended = "cs_test_ended" if self.ended_another else None
        answer = scalar(connection, "select public.cancel_order_group(%s, %s)", self.group_id, ended)
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.cancel(self.group_id, ended_another=self.ended_another)


@dataclass(frozen=True, slots=True)
class Advance:
    """An order moves one step on."""

    actor: ClassVar[Actor] = "service_role"
    order_id: UUID
    status: str = "fulfilled"

    def perform(self, connection: Connection) -> str:
        answer = scalar(connection, "select public.advance_order(%s, %s)", self.order_id, self.status)
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.advance(self.order_id, self.status)


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Pieces of a group's items come back."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID
    lines: tuple[tuple[UUID, int], ...]

    def perform(self, connection: Connection) -> str:
        answer = scalar(
            connection,
            "select public.return_order_items(%s, %s, 'too small')",
            self.group_id,
            Jsonb([{"order_item_id": str(item_id), "quantity": quantity} for item_id, quantity in self.lines]),
        )
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.give_back(self.group_id, dict(self.lines))


@dataclass(frozen=True, slots=True)
class GiveUp:
    """One seller's part of a group is refunded; `group_id` is the one that a race is about."""

    actor: ClassVar[Actor] = "service_role"
    order_id: UUID
    goods_return: bool = True
    group_id: UUID | None = None

    def perform(self, connection: Connection) -> str:
        answer = scalar(connection, "select public.refund_order(%s, 'sold out', %s)", self.order_id, self.goods_return)
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.give_up(self.order_id, goods_return=self.goods_return)


@dataclass(frozen=True, slots=True)
class SendBack:
    """A refund of the payment that has paid the group, or the status that it has reached."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID
    refund: Refund

    def perform(self, connection: Connection) -> str:
        answer = record(connection, self.refund)
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        refund = self.refund
        assert refund.id
        assert refund.amount_minor
        assert refund.status
        return model.refund(self.group_id, refund.id, refund.amount_minor, refund.status)


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody who has signed up gets the group, if it never had a buyer."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID
    buyer_id: UUID

    def perform(self, connection: Connection) -> str:
        answer = scalar(connection, "select public.claim_order_group(%s, %s)", self.group_id, self.buyer_id)
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.claim(self.group_id, self.buyer_id)


@dataclass(frozen=True, slots=True)
class Erase:
    """What the sessions of the group's payments said is forgotten."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID

    def perform(self, connection: Connection) -> str:
        answer = scalar(connection, "select public.erase_order_group_metadata(%s, 'ada', 'asked to')", self.group_id)
        return str(answer["outcome"])

    def predict(self, model: Model) -> str:
        return model.erase(self.group_id)


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """The group's time has passed, or is still to come."""

    actor: ClassVar[Actor] = "postgres"
    group_id: UUID
    has_passed: bool = True

    def perform(self, connection: Connection) -> str:
        connection.execute(
            "update public.order_groups set expires_at = now() + %s * interval '1 hour' where id = %s",
            [-1 if self.has_passed else 1, self.group_id],
        )
        return DONE

    def predict(self, model: Model) -> str:
        if model.is_frozen(self.group_id):
            return FROZEN
        model.groups[self.group_id].is_due = self.has_passed
        return DONE


@dataclass(frozen=True, slots=True)
class Note:
    """Stripe says that the buyer has finished a checkout whose money is under way."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID
    event_id: str = field(default_factory=lambda: f"evt_{uuid4().hex}")

    def perform(self, connection: Connection) -> str:
        answer = scalar(
            connection,
            "select public.note_awaiting_funds(%s, 'cs_test_delayed', %s, '2026-11-01 12:00Z')",
            self.group_id,
            self.event_id,
        )
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def predict(self, model: Model) -> str:
        return model.note(self.group_id, self.event_id)


@dataclass(frozen=True, slots=True)
class Expire:
    """All groups whose time has passed; `group_id` is the one that a race is about."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID | None = None

    def perform(self, connection: Connection) -> str:
        answer = scalar(connection, "select public.expire_order_groups()")
        return f"expired {answer['expired']}, left {answer['left']}"

    def predict(self, model: Model) -> str:
        return model.expire()


@dataclass(frozen=True, slots=True)
class Resolve:
    """An operator closes the exception of an event."""

    actor: ClassVar[Actor] = "service_role"
    event_id: str
    resolution: str = "fixed_by_hand"

    def perform(self, connection: Connection) -> str:
        answer = scalar(
            connection,
            "select public.resolve_payment_exception(x.id, %s, 'ada', 'seen')"
            " from public.list_payment_exceptions('all') as x where x.stripe_event_id = %s",
            self.resolution,
            self.event_id,
        )
        return str(answer["status"])

    def predict(self, model: Model) -> str:
        return model.resolve(self.event_id, self.resolution)


@dataclass(frozen=True, slots=True)
class AddItem:
    actor: ClassVar[Actor] = "service_role"
    order_id: UUID
    product_id: UUID
    quantity: int = 2
    item_id: UUID = field(default_factory=uuid4)

    def perform(self, connection: Connection) -> str:
        connection.execute(
            "insert into public.order_items (id, order_id, product_id, quantity, unit_amount)"
            " values (%s, %s, %s, %s, 0)",
            [self.item_id, self.order_id, self.product_id, self.quantity],
        )
        return DONE

    def predict(self, model: Model) -> str:
        if model.is_frozen(model.orders[self.order_id].group_id):
            return FROZEN
        model.items[self.item_id] = Item(self.order_id, self.product_id, self.quantity)
        model.moved.setdefault(self.product_id, 0)
        return DONE


@dataclass(frozen=True, slots=True)
class AddOrder:
    """An order without items yet."""

    actor: ClassVar[Actor] = "service_role"
    group_id: UUID
    seller_id: UUID
    order_id: UUID = field(default_factory=uuid4)

    def perform(self, connection: Connection) -> str:
        connection.execute(
            "insert into public.orders (id, order_group_id, seller_id, total_amount) values (%s, %s, %s, 0)",
            [self.order_id, self.group_id, self.seller_id],
        )
        return DONE

    def predict(self, model: Model) -> str:
        if model.is_frozen(self.group_id):
            return FROZEN
        model.orders[self.order_id] = Order(self.group_id, Decimal(0))
        return DONE


@dataclass(frozen=True, slots=True)
class ChangeItem:
    actor: ClassVar[Actor] = "postgres"
    item_id: UUID
    quantity: int

    def perform(self, connection: Connection) -> str:
        connection.execute("update public.order_items set quantity = %s where id = %s", [self.quantity, self.item_id])
        return DONE

    def predict(self, model: Model) -> str:
        item = model.items[self.item_id]
        # Written again as it is, nothing changes.
        if item.quantity != self.quantity and model.is_frozen(model.orders[item.order_id].group_id):
            return FROZEN
        item.quantity = self.quantity
        return DONE


@dataclass(frozen=True, slots=True)
class RemoveItem:
    actor: ClassVar[Actor] = "postgres"
    item_id: UUID

    def perform(self, connection: Connection) -> str:
        connection.execute("delete from public.order_items where id = %s", [self.item_id])
        return DONE

    def predict(self, model: Model) -> str:
        if model.is_frozen(model.orders[model.items[self.item_id].order_id].group_id):
            return FROZEN
        del model.items[self.item_id]
        return DONE


@dataclass(frozen=True, slots=True)
class EditGroupTotal:
    """The group's total alone: where the orders do not follow, the totals are inconsistent."""

    actor: ClassVar[Actor] = "postgres"
    group_id: UUID
    total: Decimal

    def perform(self, connection: Connection) -> str:
        connection.execute(
            "update public.order_groups set total_amount = %s where id = %s", [self.total, self.group_id]
        )
        return DONE

    def predict(self, model: Model) -> str:
        group = model.groups[self.group_id]
        if model.is_frozen(self.group_id) and group.total != self.total:
            return FROZEN
        group.total = self.total
        return DONE


@dataclass(frozen=True, slots=True)
class EditOrderTotal:
    """One order's total, by an editor who has not taken the group's lock first."""

    actor: ClassVar[Actor] = "postgres"
    order_id: UUID
    total: Decimal

    def perform(self, connection: Connection) -> str:
        connection.execute("update public.orders set total_amount = %s where id = %s", [self.total, self.order_id])
        return DONE

    def predict(self, model: Model) -> str:
        order = model.orders[self.order_id]
        if model.is_frozen(order.group_id) and order.total != self.total:
            return FROZEN
        order.total = self.total
        return DONE


@dataclass(frozen=True, slots=True)
class EditTotals:
    """An order's and its group's total together, under the group's lock: how a cart is edited."""

    actor: ClassVar[Actor] = "postgres"
    group_id: UUID
    order_id: UUID
    difference: Decimal

    def perform(self, connection: Connection) -> str:
        with connection.transaction():
            connection.execute("select from public.order_groups where id = %s for update", [self.group_id])
            for table, key in (("orders", self.order_id), ("order_groups", self.group_id)):
                connection.execute(
                    f"update public.{table} set total_amount = total_amount + %s where id = %s".encode(),
                    [self.difference, key],
                )
        return DONE

    def predict(self, model: Model) -> str:
        if model.is_frozen(self.group_id):
            return FROZEN
        model.orders[self.order_id].total += self.difference
        model.groups[self.group_id].total += self.difference
        return DONE


@dataclass(frozen=True, slots=True)
class Move:
    """Goods come in, or are counted anew."""

    actor: ClassVar[Actor] = "service_role"
    product_id: UUID
    quantity_delta: int
    entry_type: Literal["receipt", "adjustment"] = "receipt"

    def perform(self, connection: Connection) -> str:
        connection.execute(
            f"select public.record_inventory_{self.entry_type}(%s, %s, 'counted')".encode(),
            [self.product_id, self.quantity_delta],
        )
        return DONE

    def predict(self, model: Model) -> str:
        return model.move(self.product_id, self.quantity_delta)
