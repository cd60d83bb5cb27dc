-- The private room of the project, and Stripe's table of currencies.
--
-- `payments` is not among the schemas of the Data API and no API role may enter it: what Stripe told us, and
-- what went wrong, is reached through functions only.
-- An older relay notices nothing: the table is read by SQL alone.

create schema payments;
comment on schema payments is
    'Payment evidence: Stripe events, exceptions, currencies. Not in the Data API; reached through functions of public.';
revoke all on schema payments from public, anon, authenticated, service_role;

create table payments.currencies (
    code text not null,
    exponent smallint not null,
    minor_multiple integer not null default 1,
    minor_per_major integer not null generated always as (
        case exponent when 0 then 1 when 2 then 100 when 3 then 1000 end
    ) stored,
    constraint currencies_pkey primary key (code),
    constraint currencies_code_is_iso_check check (code ~ '^[A-Z]{3}$'),
    constraint currencies_exponent_is_known_check check (exponent in (0, 2, 3)),
    constraint currencies_minor_multiple_is_positive_check check (minor_multiple > 0)
);
comment on table payments.currencies is
    'How Stripe writes amounts: https://docs.stripe.com/currencies#zero-decimal. Neither ISO 4217 nor CLDR agrees with it.';
comment on column payments.currencies.exponent is
    'Decimal places between Stripe''s minor unit and the major unit.';
comment on column payments.currencies.minor_multiple is
    'Amounts in minor units must be a multiple of this: ISK and UGX have no cents, yet Stripe counts them in hundredths.';
comment on column payments.currencies.minor_per_major is
    'Minor units in one major unit. Amounts are compared by multiplying with it, which is exact; a division may round.';

-- A false policy rather than none: it says that the emptiness is meant.
alter table payments.currencies enable row level security;
create policy "Nobody can read currencies" on payments.currencies for select to public using (false);
revoke all on table payments.currencies from public, anon, authenticated, service_role;

insert into payments.currencies (code, exponent)
select
    code,
    0 as exponent
from unnest(string_to_array('BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF', ' ')) as code;

insert into payments.currencies (code, exponent)
select
    code,
    3 as exponent
from unnest(string_to_array('BHD JOD KWD OMR TND', ' ')) as code;

insert into payments.currencies (code, exponent, minor_multiple)
values
('ISK', 2, 100),
('UGX', 2, 100);

-- All that Stripe charges in, or once did; HUF and TWD count hundredths in charges, whatever their payouts do.
insert into payments.currencies (code, exponent)
select
    code,
    2 as exponent
from
    regexp_split_to_table(
        'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN
        BWP BYN BYR BZD CAD CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EEK EGP ETB EUR FJD
        FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR JMD KES KGS KHR
        KYD KZT LAK LBP LKR LRD LSL LTL LVL MAD MDL MKD MMK MNT MOP MRO MRU MUR MVR MWK
        MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR
        SBD SCR SEK SGD SHP SLE SLL SOS SRD STD STN SVC SZL THB TJS TOP TRY TTD TWD TZS
        UAH USD UYU UZS VEF VES WST XCD XCG YER ZAR ZMW',
        '\s+'
    ) as code;
