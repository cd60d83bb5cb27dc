"""Asks the database for a report."""

from datetime import datetime
from typing import Final

from relay.commands import answers
from relay.commands.report_page.figures import Report
from relay.data_api.records import Records

FUNCTION: Final = "payment_report"
# The function's own statement_timeout is 60 s.
REPORT_SECONDS: Final = 65.0


async def fetch(records: Records, since: datetime, until: datetime) -> Report:
    """The report of the window. `records` must wait for REPORT_SECONDS. Raises NoVerdict or Declined."""
    parameters = {"p_since": since.isoformat(), "p_until": until.isoformat()}
    return answers.read(Report, await records.call(FUNCTION, parameters), of=FUNCTION)
