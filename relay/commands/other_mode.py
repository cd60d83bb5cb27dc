"""Whether payments of Stripe's other mode were applied in this database. `relay check` asks this once; it is no part of
readiness, because the answer reads every recorded event.
"""

from typing import Final

from typing_extensions import TypedDict

from relay.commands import answers, terminal
from relay.config import Settings
from relay.core.errors import NoVerdict
from relay.data_api.records import Records
from relay.server.readiness import Check

NAME: Final = "other_mode"
FUNCTION: Final = "payments_by_mode"


class Payments(TypedDict):
    """Those that were applied, and the time of the last one."""

    payments: int
    last_at: answers.Instant | None


class ByMode(TypedDict):
    """The answer of the function."""

    live: Payments
    test: Payments


async def check(settings: Settings, records: Records) -> Check:
    """Doubtful where the other mode has paid, or where the database does not say. It never stops traffic: what was
    applied is past, and a person must look.
    """
    other = "test" if settings.livemode else "live"
    try:
        told = answers.read(ByMode, await records.call(FUNCTION, {}), of=FUNCTION)
    except NoVerdict as error:
        return Check(NAME, True, f"not known: {error.reason}", is_doubtful=True)
    paid = told["test"] if settings.livemode else told["live"]
    if paid["payments"] == 0:
        return Check(NAME, True, f"no payment of {other} mode was applied here")
    return Check(
        NAME,
        True,
        f"{paid['payments']} of {other} mode applied here, the last at {terminal.when(paid['last_at'])}: "
        'one database is for one mode (docs/environments.md, "One database, one mode")',
        is_doubtful=True,
    )
