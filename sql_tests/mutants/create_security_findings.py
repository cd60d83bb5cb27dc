"""Faults of the migration create_security_findings."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, SOWN
from sql_tests.mutants.mutant import Mutant

FILE = "create_security_findings"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "blind-to-open-tables",
        "a table without row level security is not found",
        FILE,
        "where a.relkind in ('r', 'p') and not a.relrowsecurity",
        "where a.relkind in ('p') and not a.relrowsecurity",
        (SOWN,),
    ),
    Mutant(
        "blind-to-disabled-guards",
        "a guard that was switched off is not found",
        FILE,
        "            and t.tgenabled = e.enabled\n",
        "",
        (SOWN,),
    ),
    Mutant(
        "blind-to-security-mode",
        "a function that lost its owner's rights is not found",
        FILE,
        "        or a.prosecdef <> e.runs_as_owner\n",
        "",
        (SOWN,),
    ),
    Mutant(
        "blind-to-views",
        "a view that reads with its owner's rights is not found",
        FILE,
        "        a.relkind = 'v'\n",
        "        a.relkind = 'm'\n",
        (SOWN,),
    ),
    Mutant(
        "blind-to-column-grants",
        "a grant on a single column is not found",
        FILE,
        "        cross join aclexplode(att.attacl) as a\n        where a.grantee <> r.relowner",
        "        cross join aclexplode(att.attacl) as a\n        where false",
        (HEALTHY,),
    ),
    Mutant(
        "blind-to-strangers-functions",
        "a function that everybody may execute is not found",
        FILE,
        "coalesce(p.proacl, acldefault('f', p.proowner)) as acl",
        "p.proacl as acl",
        (SOWN,),
    ),
)
