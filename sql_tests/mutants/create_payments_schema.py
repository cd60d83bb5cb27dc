"""Faults of the migration create_payments_schema."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX, POLICIES
from sql_tests.mutants.mutant import Mutant

FILE = "create_payments_schema"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "jpy-has-cents",
        "JPY counts hundredths",
        FILE,
        "        '\\s+'\n    ) as code;",
        "        '\\s+'\n    ) as code;\nupdate payments.currencies set exponent = 2 where code = 'JPY';",
        ("test_table_of_exponents_is_stripes",),
    ),
    Mutant(
        "kwd-has-two-decimals",
        "KWD counts hundredths",
        FILE,
        "        '\\s+'\n    ) as code;",
        "        '\\s+'\n    ) as code;\nupdate payments.currencies set exponent = 2 where code = 'KWD';",
        ("test_every_currency_is_paid_exactly",),
    ),
    Mutant(
        "huf-has-no-decimals",
        "HUF counts whole units, as in payouts",
        FILE,
        "        '\\s+'\n    ) as code;",
        "        '\\s+'\n    ) as code;\nupdate payments.currencies set exponent = 0 where code = 'HUF';",
        ("test_relays_table_is_the_databases_table",),
    ),
    Mutant(
        "isk-has-fractions",
        "ISK may have hundredths",
        FILE,
        "('ISK', 2, 100)",
        "('ISK', 2, 1)",
        ("test_fraction_of_a_unit_that_does_not_exist",),
    ),
    Mutant(
        "ugx-has-no-decimals",
        "UGX counts whole units, as ISO 4217 has it",
        FILE,
        "('UGX', 2, 100)",
        "('UGX', 0, 1)",
        ("test_table_of_exponents_is_stripes",),
    ),
    Mutant(
        "currency-missing",
        "CHF is not in the table",
        FILE,
        "CDF CHF CNY",
        "CDF CNY",
        ("test_relays_table_is_the_databases_table",),
    ),
    Mutant(
        "thousandths-are-hundredths",
        "a unit of three decimals has a hundred minor units",
        FILE,
        "when 3 then 1000",
        "when 3 then 100",
        ("test_minor_units_of_one_major_unit",),
    ),
    Mutant(
        "exponent-unchecked",
        "a currency may have four decimals, and no minor units in a major one",
        FILE,
        "check (exponent in (0, 2, 3))",
        "check (exponent in (0, 2, 3, 4))",
        argument="Such a currency has no minor units in a major one, a column that is not null: it is refused already.",
    ),
    Mutant(
        "multiple-unchecked",
        "a currency's multiple may be zero, which divides by zero in every payment",
        FILE,
        "check (minor_multiple > 0)",
        "check (minor_multiple >= 0)",
        ("currencies_minor_multiple_is_positive_check",),
    ),
    Mutant(
        "private-schema-open",
        "service_role may enter the private schema",
        FILE,
        "revoke all on schema payments from public, anon, authenticated, service_role;",
        "revoke all on schema payments from public, anon, authenticated;\n"
        "grant usage on schema payments to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "private-schema-unrevoked",
        "what the private schema does not grant is not revoked either",
        FILE,
        "revoke all on schema payments from public, anon, authenticated, service_role;\n",
        "",
        argument="Postgres grants nothing on a new schema and Supabase has no default privileges for schemas; the line "
        "guards against a platform that gets some.",
    ),
    Mutant(
        "currencies-without-policies",
        "row level security of the currencies is off",
        FILE,
        "alter table payments.currencies enable row level security;\n",
        "",
        (HEALTHY,),
    ),
    Mutant(
        "currencies-policy-open",
        "the policy of the currencies lets everybody read",
        FILE,
        "for select to public using (false)",
        "for select to public using (true)",
        (POLICIES,),
    ),
    Mutant(
        "currency-of-two-letters",
        "a currency's code may have two letters or more than three",
        FILE,
        "'^[A-Z]{3}$'",
        "'^[A-Z]{2,}$'",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "multiple-optional",
        "a currency's multiple may be null, and a payment's fraction is then never found",
        FILE,
        "minor_multiple integer not null default 1",
        "minor_multiple integer default 1",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "exponent-optional",
        "a currency may have no exponent",
        FILE,
        "exponent smallint not null",
        "exponent smallint",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "one-currency-more",
        "a currency that Stripe does not know is in the table",
        FILE,
        "'BHD JOD KWD OMR TND'",
        "'BHD IQD JOD KWD OMR TND'",
        ("test_table_of_exponents_is_stripes",),
    ),
    Mutant(
        "currency-of-old-notes",
        "a currency that Stripe once charged in is not in the table",
        FILE,
        " FKP GBP",
        " GBP",
        ("test_relays_table_is_the_databases_table",),
    ),
)
