"""The releases next to today's, as code that runs: a relay's package, and the migrations of a database.

What comes after today is made here by the rules of CONTRIBUTING.md. Three of them need two releases: what the database
of release 1 takes, the relay of release 2 sends; what the relay of release 1 knows, the database of release 2 answers;
what the relay of release 1 no longer sends, the database of release 2 no longer takes. What came before today is the
last release, from the commit that lists it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_stack.supabase_cli import REPOSITORY
from relay.server.readiness import CONTRACT_VERSION, OLDEST_DATABASE
from sql_tests.releases import last_release, project_at, relay_of, releases

LAST: Final = -1
NEW_REASON: Final = "order_without_items"
RECONCILE: Final = "public.reconcile_order_group_payment"


@dataclass(frozen=True, slots=True)
class AdjacentRelease:
    """A release. `relay` is the folder that holds its package, `project` the one that holds its `supabase/`."""

    relay: Path
    project: Path

    @property
    def contract(self) -> int:
        """The contract that its relay speaks."""
        return int(self._ask("from relay.server.readiness import CONTRACT_VERSION as found; print(found)"))

    @property
    def reasons(self) -> set[str]:
        """The reasons that its relay takes from the database."""
        named = "*REJECTIONS, *UNMATCHED_REASONS, *REASONS_OF[Outcome.RECORDED]"
        return set(self._ask(f"from relay.core.outcomes import *; print({named})").split())

    def _ask(self, code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=self.relay, capture_output=True, text=True, check=True).stdout


def adjacent_release(number: int, home: Path) -> AdjacentRelease:
    """Release 0 is today's tree, 1 the next one, 2 the one after, LAST the last that was released.

    Raises MissingReleaseError.
    """
    if number == 0:
        return AdjacentRelease(REPOSITORY, REPOSITORY)
    if number == LAST:
        # On the commit of the very first release there is none before.
        release = last_release() or releases()[-1]
        return AdjacentRelease(relay_of(release, home), project_at(release.head, home))
    return AdjacentRelease(_relay(number, home), _project(number, home))


# The relays

Edit = tuple[str, str, str]
"""A file, a text that stands there once, and what stands there in the later release."""

RELAYS: Final[dict[int, list[Edit]]] = {
    1: [
        ("data_api/parameters.py", '        "p_source": source,\n        "p_unmatched', '        "p_unmatched'),
        (
            "core/outcomes.py",
            "    AMOUNT_MISSING = ",
            f'    NEW = "{NEW_REASON}", Outcome.REJECTED\n    AMOUNT_MISSING = ',
        ),
    ],
    2: [
        (
            "data_api/parameters.py",
            '        "p_livemode": payment',
            '        "p_next": None,\n        "p_livemode": payment',
        )
    ],
}


def _relay(number: int, home: Path) -> Path:
    package = home / "relay"
    shutil.copytree(REPOSITORY / "relay", package, ignore=shutil.ignore_patterns("__pycache__"))
    edits = [edit for step in range(1, number + 1) for edit in RELAYS[step]]
    spoken, oldest = f"CONTRACT_VERSION: Final = {CONTRACT_VERSION}\n", f"OLDEST_DATABASE: Final = {OLDEST_DATABASE}\n"
    edits.append(("server/readiness.py", spoken, f"CONTRACT_VERSION: Final = {CONTRACT_VERSION + number}\n"))
    edits.append(("server/readiness.py", oldest, f"OLDEST_DATABASE: Final = {CONTRACT_VERSION + number - 1}\n"))
    for name, old, new in edits:
        text = (package / name).read_text()
        assert text.count(old) == 1, (
            f"{old!r} does not stand once in relay/{name}: adapt tests/release/other_releases.py"
        )
        (package / name).write_text(text.replace(old, new))
    return home


# The databases


def change(function: str, *edits: tuple[str, str], anew: bool = False) -> str:
    """SQL that replaces texts in a function, and says so to the database that checks itself.

    `anew` where its parameters change: it is dropped first.
    """
    steps = "".join(
        f"""
    if strpos(v_definition, $old${old}$old$) = 0 then
        raise exception '{function} does not hold %: adapt tests/release/other_releases.py', $old${old}$old$;
    end if;
    v_definition := replace(v_definition, $old${old}$old$, $new${new}$new$);"""
        for old, new in edits
    )
    return f"""
do $do$
declare
    v_path constant text := set_config('search_path', '', true);
    v_before constant text := '{function}'::pg_catalog.regproc::pg_catalog.regprocedure;
    v_definition text := pg_catalog.pg_get_functiondef(v_before::pg_catalog.regprocedure);
    v_after text;
begin{steps}
    {"execute format('drop function %s', v_before);" if anew else ""}
    execute v_definition;
    v_after := '{function}'::pg_catalog.regproc::pg_catalog.regprocedure;
    update payments.expected_grants set object = v_after where object = v_before;
    perform payments.record_definitions(array[v_before, v_after]);
    perform set_config('search_path', '"$user", public, extensions', true);
end;
$do$;
{f"revoke execute on function {function} from public, anon, authenticated;" if anew else ""}
{f"grant execute on function {function} to service_role;" if anew else ""}
"""


def counted(number: int) -> str:
    """The contract of that release, counted up from the release before."""
    version = CONTRACT_VERSION + number
    oldest_before = OLDEST_DATABASE if number == 1 else version - 2
    return change(
        "public.reconciliation_readiness",
        (f"'contract_version', {version - 1},", f"'contract_version', {version},"),
        (f"'oldest_contract_version', {oldest_before},", f"'oldest_contract_version', {version - 1},"),
    )


NEW_WORD: Final = (
    f"insert into payments.reasons values ('{NEW_REASON}', 'rejected', 'an order of the group has no items');"
    + change("payments.judge", ("then 'order_group_empty'", f"then '{NEW_REASON}'"))
)
"""A rejection has another reason than before."""

MIGRATIONS: Final[dict[int, str]] = {
    1: change(
        RECONCILE,
        (
            "p_account text DEFAULT NULL::text",
            "p_account text DEFAULT NULL, p_next text DEFAULT NULL",
        ),
        anew=True,
    )
    + change("payments.verdict", ("'outcome', p_outcome,", "'outcome', p_outcome, 'next', array[1, 2],"))
    + counted(1),
    2: change(
        RECONCILE,
        ("p_source text DEFAULT 'webhook'::text, ", ""),
        ("declare\n", "declare\n    p_source constant text := 'webhook';\n"),
        anew=True,
    )
    + NEW_WORD
    + counted(2),
}


def _project(number: int, home: Path) -> Path:
    shutil.copytree(REPOSITORY / "supabase", home / "supabase")
    for step in range(1, number + 1):
        add_migration(home, f"2099010{step}000000_make_release.sql", MIGRATIONS[step])
    return home


def add_migration(project: Path, name: str, text: str) -> None:
    """One more file in a project's migrations."""
    (project / "supabase" / "migrations" / name).write_text(text)
