"""What to do about each reason, in the words of docs/operations.md; a test holds the two equal."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Remedy(NamedTuple):
    """A row of the table: what is usually behind the reason, and what to do."""

    usually: str
    do: str


_ROWS: Final = (
    (
        ("missing_reference",),
        Remedy(
            "a payment of another application, or of a Payment Link",
            "find out whose it is; then resolve it as `dismissed`, or refund it and resolve it as `refunded`. "
            "Where the account sells by other ways for good, set `RELAY_UNREFERENCED_SESSIONS=ignore`",
        ),
    ),
    (
        ("foreign_account",),
        Remedy(
            "another Stripe account was paid, through an endpoint that also listens to connected accounts, and "
            "its session names one of our groups; nothing was applied",
            "a seller who copied a reference, or an attack: resolve it as `dismissed`. If the account is your "
            "own, put it into `STRIPE_ACCOUNTS` and send the event again",
        ),
    ),
    (
        (
            "malformed_reference",
            "conflicting_references",
        ),
        Remedy(
            "a bug in the checkout code",
            "find the order by amount and time; ship by hand and resolve it as `fixed_by_hand`, or refund",
        ),
    ),
    (
        ("order_group_not_found",),
        Remedy(
            "the group was never stored, or a backup was restored",
            "restore the group under its id, then sweep; else refund",
        ),
    ),
    (
        ("order_group_not_payable",),
        Remedy(
            "a late payment for a cancelled group",
            "refund; a cancelled group is never revived",
        ),
    ),
    (
        (
            "order_group_empty",
            "totals_inconsistent",
        ),
        Remedy(
            "the shop stored the order wrongly",
            "mend the pending group, then sweep",
        ),
    ),
    (
        ("amount_missing",),
        Remedy(
            "the session carries no usable amount",
            "look at it in Stripe",
        ),
    ),
    (
        (
            "amount_mismatch",
            "currency_mismatch",
        ),
        Remedy(
            "Checkout added tax, shipping or a discount that the total lacks; a price changed meanwhile",
            "mend the checkout; refund, or mend the pending group's totals and sweep",
        ),
    ),
    (
        (
            "currency_unsupported",
            "amount_normalization_mismatch",
        ),
        Remedy(
            "relay and database know different currencies",
            "run `relay check`, and upgrade what is behind",
        ),
    ),
    (
        ("duplicate_payment",),
        Remedy(
            "two tabs",
            "refund the second payment, then resolve it as `refunded`",
        ),
    ),
    (
        ("payment_already_used",),
        Remedy(
            "a session was given another order's reference",
            "find out which order the money is for",
        ),
    ),
    (
        ("event_collision",),
        Remedy(
            "somebody else's events under the same ids: a copied database, a simulation",
            "compare the event in Stripe with `relay explain`",
        ),
    ),
    (
        ("payment_refunded",),
        Remedy(
            "Stripe had sent all of the payment's money back before the payment came here; it paid nothing, and "
            "the exception is closed at once",
            "nothing is owed. Where the refund fails, it opens again: send the event again, or sweep",
        ),
    ),
    (
        ("payment_disputed",),
        Remedy(
            "the buyer's bank asks for the money back",
            "answer it in Stripe before its deadline. A dispute that is won closes the exception by itself; one "
            "that is lost stays: settle it with buyer and seller, then resolve it as `fixed_by_hand`",
        ),
    ),
    (
        ("exceeds_payment",),
        Remedy(
            "the refunds on record, with this one, are more than the payment has brought",
            "compare the payment's refunds in Stripe with `relay explain`; sent again, the refund is judged anew; "
            "one that was recorded before its payment counts by itself once there is room",
        ),
    ),
    (
        (
            "refund_collision",
            "dispute_collision",
        ),
        Remedy(
            "another refund or dispute under an id that is on record: a copied database, a simulation, the other mode",
            "compare it in Stripe with what was expected, and resolve it as `dismissed` once you know whose it is",
        ),
    ),
)
REMEDIES: Final[Mapping[str, Remedy]] = {reason: remedy for reasons, remedy in _ROWS for reason in reasons}
"""By the reason of the exception."""
