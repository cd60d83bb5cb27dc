"""`--since` and `--until`: a window of time as the command line says it."""

from argparse import ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta

import pytest

from relay.commands.endings import CommandError
from relay.commands.window import bounds, instant


def test_a_window_is_read_as_a_duration_or_a_time() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert instant("72h", now=now) == now - timedelta(hours=72)
    assert instant("90m", now=now) == now - timedelta(minutes=90)
    assert instant("2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert instant("2026-11-01T02:00:00+02:00") == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1.5h", "-1h", "72", "2026-13-01", "0001-01-01", "9999w", "999999w", "2100-01-02", "²d"]
)
def test_a_time_that_not_every_part_could_tell_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        instant(text)


def test_a_window_that_ends_before_it_begins_is_refused_in_words() -> None:
    early, late = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)

    assert bounds(Namespace(since=early, until=late)) == (early, late)
    for until in (early, early - timedelta(seconds=1)):
        with pytest.raises(CommandError, match="--since must lie before --until"):
            bounds(Namespace(since=early, until=until))
