"""Faults of the migration create_create_order_group."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_create_order_group"

CREATED = "test_one_call_makes_the_group"
READ = "test_what_cannot_be_read_is_named"
EQUAL = "test_an_equal_request_writes_nothing"
ANOTHER = "test_another_request_under_the_same_id"
HAS = "test_what_the_shop_does_not_have"
TAKEN = "test_ids_that_are_taken"
MEDDLED = "test_a_trigger_of_the_shop_that_changes_what_was_requested"

# What it breaks, the text, the fault, and who notices.
FAULTS: dict[str, tuple[str, str, str, str]] = {
    "group-without-id": (
        "a group may be asked for without an id",
        "when p_order_group_id is null then",
        "when false then",
        READ,
    ),
    "no-currency": (
        "a missing currency is one that is not known",
        "when p_currency is null then",
        "when false then",
        READ,
    ),
    "expires-in-infinity": (
        "a group may expire at no time that anybody will see",
        "when p_expires_at not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then 'p_expires_at'",
        "when p_expires_at < '2000-01-01 00:00:00+00' then 'p_expires_at'",
        READ,
    ),
    "unknown-order-field": (
        "a misspelt field of an order is passed over",
        "when o.value - '{id,seller_id,total_amount,items}'::pg_catalog.text[] <> '{}' then",
        "when false then",
        READ,
    ),
    "unknown-item-field": (
        "a misspelt field of an item is passed over",
        "when i.value - '{id,product_id,quantity,unit_amount}'::pg_catalog.text[] <> '{}' then",
        "when false then",
        READ,
    ),
    "half-a-piece": (
        "half a piece can be ordered",
        "                    or (i.value ->> 'quantity')::pg_catalog.numeric % 1 <> 0\n",
        "",
        READ,
    ),
    "no-piece": ("no piece can be ordered", "not between 1 and v_most_pieces", "not between 0 and v_most_pieces", READ),
    "pieces-beyond": (
        "more pieces can be ordered than a column holds",
        "integer := 2147483647",
        "bigint := 21474836470",
        READ,
    ),
    "quantity-as-text": (
        "a quantity may be text",
        "jsonb_typeof(i.value -> 'quantity') is distinct from 'number'",
        "i.value -> 'quantity' is null or jsonb_typeof(i.value -> 'quantity') not in ('number', 'string')",
        READ,
    ),
    "signed-amount": ("an amount may be less than nothing", "'^[0-9]+(\\.[0-9]+)?$'", "'^-?[0-9]+(\\.[0-9]+)?$'", READ),
    "amount-begins-anyhow": (
        "an amount may have anything before it",
        "'^[0-9]+(\\.[0-9]+)?$'",
        "'[0-9]+(\\.[0-9]+)?$'",
        READ,
    ),
    "last-wrong-field": (
        "the last wrong field is named",
        "order by w.order_place, w.item_place\n    limit 1",
        "order by w.order_place desc, w.item_place desc\n    limit 1",
        "test_the_first_wrong_field",
    ),
    "empty-order": (
        "an order may be without items",
        " or p_orders @? 'strict $[*].items ? (@.size() == 0)'",
        "",
        HAS,
    ),
    "endless-amount": (
        "an endless amount is read",
        "v_longest_amount constant integer := 100;",
        "v_longest_amount constant integer := 1000000;",
        HAS,
    ),
    "another-currency-is-equal": (
        "a request in another currency is the same",
        "p_group.currency = p_currency\n        and ",
        "",
        ANOTHER,
    ),
    "promise-makes-no-difference": (
        "a request with a promise of stock is the same as one without",
        "p_reserve = (p_group.reserved_product_ids is not null)",
        "true",
        ANOTHER,
    ),
    "another-buyer-is-equal": (
        "another buyer's request is the same",
        "p_buyer_id is not distinct from p_group.buyer_id",
        "true",
        ANOTHER,
    ),
    "guests-request-of-a-buyer": (
        "a request without its buyer is the same",
        " and p_group.buyer_since is distinct from p_group.created_at",
        "",
        ANOTHER,
    ),
    "claimed-group-differs": (
        "a guest's request differs once the group was claimed",
        "\n            or (p_buyer_id is null and p_group.buyer_since is distinct from p_group.created_at)",
        "",
        "test_a_guests_request",
    ),
    "fewer-items-are-equal": (
        "a request without some of the items is the same",
        "                    select ordered, item from existing\n                    except all\n"
        "                    select ordered, item from requested\n",
        "                    select ordered, item from existing\n                    where false\n",
        ANOTHER,
    ),
    "ids-make-no-difference": (
        "a request with other ids is the same",
        "where (r.gives_order_id or r.gives_item_id) and not exists (",
        "where false and not exists (",
        ANOTHER,
    ),
    "item-id-of-another-item": (
        "the id of one item is the same as that of another",
        "                    and e.item = r.item\n",
        "",
        ANOTHER,
    ),
    "order-id-of-another-order": (
        "the id of one order is the same as that of another",
        "                    e.ordered = r.ordered\n                    and e.item",
        "                    e.item",
        "test_orders_whose_ids_are_exchanged",
    ),
    "unit-of-no-money": (
        "an item may cost what its currency cannot express",
        "                select r.unit_amount\n                from unnest(p_items) as r\n                union all\n",
        "",
        HAS,
    ),
    "sum-beyond-the-tables": (
        "totals may add up to more than a column holds",
        "select sum(o.total_amount)\n                from (",
        "select max(o.total_amount)\n                from (",
        HAS,
    ),
    "anybodys-product": (
        "a product of another seller is left to the key",
        "where p.seller_id <> r.seller_id",
        "where false",
        HAS,
    ),
    "nobodys-product": ("a product that is none is left to the key", "where p.id is null", "where false", HAS),
    "nobodys-order": ("a seller that is none is left to the key", "where s.id is null", "where false", HAS),
    "nobody-buys": (
        "a buyer that is none is left to the key",
        "when p_buyer_id is not null and not exists (",
        "when false and not exists (",
        HAS,
    ),
    "taken-order": (
        "an order's id that is taken ends in an error",
        "inner join public.orders as o on r.order_id = o.id",
        "inner join public.orders as o on r.order_id = o.id and false",
        TAKEN,
    ),
    "taken-item": (
        "an item's id that is taken ends in an error",
        "inner join public.order_items as i on r.item_id = i.id",
        "inner join public.order_items as i on r.item_id = i.id and false",
        TAKEN,
    ),
    "order-id-twice": (
        "an order's id that is given twice ends in an error",
        "count(distinct r.order_id) <> count(distinct r.order_place)",
        "false",
        TAKEN,
    ),
    "item-id-twice": (
        "an item's id that is given twice ends in an error",
        "count(distinct r.item_id) <> count(*)",
        "false",
        TAKEN,
    ),
    "expires-never": (
        "a group is created without its end",
        "            sum(o.total_amount),\n            p_expires_at,",
        "            sum(o.total_amount),\n            null,",
        CREATED,
    ),
    "total-of-one-order": (
        "a group costs what its dearest order costs",
        "            sum(o.total_amount),\n            p_expires_at",
        "            max(o.total_amount),\n            p_expires_at",
        CREATED,
    ),
    "rows-may-be-missing": (
        "a trigger of the shop may keep items back",
        "raise exception 'order group % is not written as it was requested', p_order_group_id",
        "raise warning 'order group % is not written as it was requested', p_order_group_id",
        MEDDLED,
    ),
    "written-quantity-unseen": (
        "a trigger may change a quantity",
        "                and r.quantity = w.quantity\n",
        "",
        MEDDLED,
    ),
    "written-price-unseen": (
        "a trigger may change a price",
        "                and r.unit_amount = w.unit_amount\n",
        "",
        MEDDLED,
    ),
    "written-total-unseen": (
        "a trigger may change what an order costs",
        "                and r.total_amount = w.total_amount\n",
        "",
        MEDDLED,
    ),
    "rows-may-be-added": (
        "a trigger may add items and orders",
        "where r.order_id is null or w.order_id is null",
        "where w.order_id is null",
        MEDDLED,
    ),
    "group-total-unseen": (
        "a trigger may change what a group costs",
        "            and g.total_amount = (",
        "            and 0 <= (",
        MEDDLED,
    ),
    "capital-currency": (
        "Stripe is told the currency in capitals",
        "lower(v_group.currency)",
        "v_group.currency",
        CREATED,
    ),
    "major-units-as-minor": (
        "Stripe is told the amount in major units",
        "(v_group.total_amount * c.minor_per_major)::bigint",
        "v_group.total_amount::bigint",
        CREATED,
    ),
    "old-snapshot-promises": (
        "stock is promised on a snapshot that may be old",
        "current_setting('transaction_isolation') <> 'read committed'",
        "false",
        "test_no_promise_is_made_on_an_old_snapshot",
    ),
    "promise-without-a-lock": (
        "two buyers are promised one piece",
        "            where p.id = any(v_product_ids)\n            order by p.id\n            for no key update",
        "            where p.id = any(v_product_ids)\n            order by p.id",
        "test_the_last_piece_is_promised_once",
    ),
    "promise-keeps-payments-waiting": (
        "a promise keeps payments of its products waiting",
        "for no key update",
        "for update",
        "test_a_payment_does_not_wait_for_a_promise",
    ),
    "creation-serialized-away": (
        "create_order_group answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        "                using errcode = 'lock_not_available'",
        "                using errcode = 'serialization_failure'",
        "test_whoever_sees_the_database_of_before",
    ),
    "promise-of-what-is-not-there": (
        "stock is promised that is not there",
        "where l.available < r.requested",
        "where false",
        "test_what_is_not_there",
    ),
    "promise-forgotten": (
        "a promise is not kept",
        "case when p_reserve then v_product_ids end, v_items",
        "null, v_items",
        "test_a_promise_lasts_until",
    ),
    "lines-counted-apart": (
        "a product on two lines is asked for by each alone",
        "sum(i.quantity) as requested",
        "max(i.quantity) as requested",
        "test_what_is_not_there",
    ),
}

MUTANTS: tuple[Mutant, ...] = tuple(
    Mutant(id_, breaks, FILE, search, replace, (killer,)) for id_, (breaks, search, replace, killer) in FAULTS.items()
)
