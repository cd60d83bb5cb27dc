"""A missing or wrong setting stops the start, with one message that names all of them and shows none."""

import re
import secrets
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from relay.config import MAY_BE_EMPTY, VARIABLES, Secret, Settings, SettingsError, unused_proxy
from testkit.relay_under_test import environ

NOW = time.time()
NEEDED = [name for name, default in VARIABLES.items() if not default and name not in MAY_BE_EMPTY]


def token(**claims: Any) -> str:
    return jwt.encode({"iss": "supabase", **claims}, secrets.token_hex(32))


def settings(**changes: str) -> Settings:
    return Settings.from_env(environ("https://project.supabase.co", **changes), now=NOW)


def fault_of(name: str, value: str) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(**{name: value})
    message = str(caught.value)
    assert f"{name}: " in message
    if len(value.strip()) > 6 and not value.endswith("_"):
        assert value.strip() not in message
    return message


def test_an_empty_environment_names_all_that_is_needed_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({}, now=NOW)

    assert [name for name in VARIABLES if f"{name}: is missing" in str(caught.value)] == NEEDED


def test_several_wrong_settings_are_named_in_one_message() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(STRIPE_SECRET_KEY="pk_test_1", RELAY_PORT="http", STRIPE_WEBHOOK_TOLERANCE="0", RELAY_RPC_TIMEOUT="x")

    for name in ("STRIPE_SECRET_KEY", "RELAY_PORT", "STRIPE_WEBHOOK_TOLERANCE", "RELAY_RPC_TIMEOUT"):
        assert name in str(caught.value)
    assert "SUPABASE_URL" not in str(caught.value)


def test_the_defaults_are_the_contracts() -> None:
    env = environ("https://project.supabase.co")
    usable = Settings.from_env({name: env[name] for name in NEEDED}, now=NOW)

    assert (usable.hosts, usable.port) == (("0.0.0.0",), 8080)  # noqa: S104
    assert (usable.webhook_tolerance, usable.rpc_timeout) == (300, 9.0)
    assert (usable.stripe_api_base, usable.log_level) == ("https://api.stripe.com", "info")
    assert (usable.stripe_accounts, usable.ignores_unreferenced) == (frozenset(), False)
    assert usable.metadata_keys is None


def test_port_counts_where_relay_port_is_not_set() -> None:
    env = environ("https://project.supabase.co", PORT="5000")

    assert Settings.from_env(env | {"RELAY_PORT": "6000"}, now=NOW).port == 6000
    assert Settings.from_env(env | {"RELAY_PORT": " "}, now=NOW).port == 5000
    # What Kubernetes sets in each container for a Service called `relay` is no setting.
    assert Settings.from_env(env | {"RELAY_PORT": "tcp://10.3.0.9:8080"}, now=NOW).port == 5000
    del env["RELAY_PORT"]
    assert Settings.from_env(env, now=NOW).port == 5000
    with pytest.raises(SettingsError, match="RELAY_PORT"):
        Settings.from_env(env | {"PORT": "x"}, now=NOW)


@pytest.mark.parametrize(
    ("prefix", "livemode"), [("sk_live_", True), ("rk_live_", True), ("sk_test_", False), ("rk_test_", False)]
)
def test_the_stripe_key_tells_live_from_test(prefix: str, livemode: bool) -> None:
    assert settings(STRIPE_SECRET_KEY=prefix + secrets.token_hex(8)).livemode is livemode


@pytest.mark.parametrize("value", ["sk_test_", "pk_test_12345", "whsec_12345", "SK_TEST_12345", "sk_test_1 2", "sk_1"])
def test_what_is_no_secret_stripe_key_is_refused(value: str) -> None:
    fault_of("STRIPE_SECRET_KEY", value)


def test_several_webhook_secrets_are_stripped_and_keep_their_order() -> None:
    first, second = f"whsec_{secrets.token_hex(8)}", f"whsec_{secrets.token_hex(8)}"

    assert [
        each.reveal() for each in settings(STRIPE_WEBHOOK_SECRET=f" {first} ,{second}\n").stripe_webhook_secrets
    ] == [
        first,
        second,
    ]


@pytest.mark.parametrize(
    "value", ["whsec_", "whsec_ ", ",", "whsec_abcd,", "whsec_abcd,,whsec_efgh", "abcdefgh", "whsec_ab cd", "whsec_é"]
)
def test_a_blank_or_wrong_webhook_secret_is_refused(value: str) -> None:
    fault_of("STRIPE_WEBHOOK_SECRET", value)


def test_the_lifecycle_routes_secrets_are_read_like_the_others_and_none_is_fine() -> None:
    first, second = f"whsec_{secrets.token_hex(8)}", f"whsec_{secrets.token_hex(8)}"
    both = settings(STRIPE_LIFECYCLE_WEBHOOK_SECRET=f"{first},{second}")

    assert both.stripe_lifecycle_webhook_secrets == (Secret(first), Secret(second))
    assert settings().stripe_lifecycle_webhook_secrets == ()
    assert settings(STRIPE_LIFECYCLE_WEBHOOK_SECRET=" ").stripe_lifecycle_webhook_secrets == ()
    for value in ("whsec_", ",", "whsec_abcd,", "whsec_abcd,whsec_abcd", "abcdefgh"):
        fault_of("STRIPE_LIFECYCLE_WEBHOOK_SECRET", value)


def test_one_secret_for_both_routes_is_known_to_be_shared() -> None:
    first, second = f"whsec_{secrets.token_hex(8)}", f"whsec_{secrets.token_hex(8)}"

    assert settings(STRIPE_WEBHOOK_SECRET=first).shares_webhook_secret is False
    for own, lifecycle, shared in ((first, second, False), (first, first, True), (f"{second},{first}", first, True)):
        both = settings(STRIPE_WEBHOOK_SECRET=own, STRIPE_LIFECYCLE_WEBHOOK_SECRET=lifecycle)
        assert both.shares_webhook_secret is shared


@pytest.mark.parametrize(
    "value",
    [
        "https://project.supabase.co",
        "https://project.supabase.co/",
        "http://127.0.0.1:54321",
        "http://localhost:54321",
        "http://[::1]:54321",
        "http://kong:8000",
        "http://10.0.0.7",
        "http://host.docker.internal:8000",
    ],
)
def test_a_url_is_taken_without_its_last_slash(value: str) -> None:
    assert settings(SUPABASE_URL=value).supabase_url == value.rstrip("/")


@pytest.mark.parametrize(
    "value",
    [
        "project.supabase.co",
        "ftp://project.supabase.co",
        "https://",
        "https:///rest",
        "not a url",
        "https://user:pass@project.supabase.co",
        "https://project.supabase.co?x=1",
        "https://project.supabase.co#x",
        "https://project.supabase.co:port",
        "https://[::1",
        "http://project.supabase.co",
        "http://93.184.216.34",
    ],
)
def test_what_is_no_url_of_a_project_is_refused(value: str) -> None:
    fault_of("SUPABASE_URL", value)
    fault_of("STRIPE_API_BASE", value)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("https://example.com/supabase", "https://example.com/supabase"),
        ("HTTPS://Example.com/Shop_1/supa-base.v2/", "https://example.com/Shop_1/supa-base.v2"),
        ("http://kong:8000/~shop//", "http://kong:8000/~shop"),
    ],
)
def test_a_project_may_lie_below_a_path_and_stripe_may_not(value: str, taken: str) -> None:
    assert settings(SUPABASE_URL=value).supabase_url == taken
    assert "without a path" in fault_of("STRIPE_API_BASE", value)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/rest/v1", "must be without /rest/v1, which the relay adds"),
        ("/supabase/rest/v1/", "must be without /rest/v1, which the relay adds"),
        *(
            (path, "must have a path of letters, digits and ._~- alone, if any")
            for path in ("/a/../b", "/./a", "/a//b", "//a", "/a%2fb", "/a;b", "/a:b", "/a@b", "/a\\b")
        ),
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str, fault: str) -> None:
    assert fault in fault_of("SUPABASE_URL", f"https://example.com{path}")


@pytest.mark.parametrize("host", ["supabase.com", "app.supabase.com", "Supabase.com"])
def test_the_dashboards_address_is_refused_before_the_service_key_goes_there(host: str) -> None:
    fault = fault_of("SUPABASE_URL", f"https://{host}/dashboard/project/abcdefghijklmnopqrst")

    assert "is the dashboard's address; the project's own is https://<ref>.supabase.co" in fault


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("::", ("::",)),
        ("0.0.0.0,::", ("0.0.0.0", "::")),  # noqa: S104
        (" 127.0.0.1 , ::1 , relay.internal ", ("127.0.0.1", "::1", "relay.internal")),
    ],
)
def test_the_relay_may_listen_on_several_addresses(value: str, hosts: tuple[str, ...]) -> None:
    assert settings(RELAY_HOST=value).hosts == hosts


@pytest.mark.parametrize("value", [",", "0.0.0.0,", "::,,0.0.0.0", "::,::", "0.0.0.0 ::", "straße.example"])
def test_a_blank_or_doubled_address_is_refused(value: str) -> None:
    assert "must be addresses or host names, separated by commas, each once" in fault_of("RELAY_HOST", value)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("HTTPS://Project.Supabase.CO/", "https://project.supabase.co"),
        ("HTTP://LOCALHOST:54321", "http://localhost:54321"),
        ("https://xn--strae-oqa.example", "https://xn--strae-oqa.example"),
        ("http://my_kong:8000", "http://my_kong:8000"),
        ("https://8.8.8.8", "https://8.8.8.8"),
        ("http://[::ffff:10.0.0.7]", "http://[::ffff:10.0.0.7]"),
    ],
)
def test_a_url_has_one_spelling(value: str, taken: str) -> None:
    assert settings(SUPABASE_URL=value).supabase_url == taken
    assert settings(STRIPE_API_BASE=value).stripe_api_base == taken


@pytest.mark.parametrize(
    "host",
    [
        *("134744072", "0x8080808", "0X8080808", "010.010.010.010", "8.8.2056", "8.526344", "8", "0x8.0x8.0x8.0x8"),
        *("134744072.", "8.8.8.8.", "0x8080808.", "[::ffff:8.8.8.8]", "8.8.8.8", "[2001:4860:4860::8888]"),
        *("project.supabase.co.", "localhost.example", "127.0.0.1.example", "xn--strae-oqa.example", "127.1", "0x7f.1"),
        *("straße.example", "ex%61mple.com", "a..b@c", "[fe80::1%25eth0]", "-x", "a,b"),
    ],
)
def test_plain_http_reaches_only_what_is_surely_nearby(host: str) -> None:
    fault_of("SUPABASE_URL", f"http://{host}")
    fault_of("STRIPE_API_BASE", f"http://{host}")


@pytest.mark.parametrize("host", ["134744072", "0x8080808", "8.8.8.8.", "127.1", "ex%61mple.com", "a,b", "-x"])
def test_a_host_that_libraries_read_in_different_ways_is_refused_over_tls_too(host: str) -> None:
    assert "must name its host" in fault_of("SUPABASE_URL", f"https://{host}")


def test_a_name_that_is_not_ascii_is_to_be_written_as_the_dns_has_it() -> None:
    assert "xn--" in fault_of("SUPABASE_URL", "https://straße.example")


def test_a_proxy_that_others_would_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert unused_proxy(settings()) is None
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert unused_proxy(settings()) is None
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    assert unused_proxy(settings()) == "ALL_PROXY"
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert unused_proxy(settings()) == "HTTPS_PROXY"
    monkeypatch.setenv("NO_PROXY", ".supabase.co")
    assert unused_proxy(settings()) is None


def test_both_kinds_of_service_key_are_taken() -> None:
    for key in (token(role="service_role"), token(role="service_role", exp=NOW + 60), "sb_secret_" + "x" * 20):
        assert settings(SUPABASE_SERVICE_ROLE_KEY=key).supabase_service_role_key.reveal() == key


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (token(role="anon"), "role"),
        (token(role="authenticated"), "role"),
        (token(), "role"),
        (token(role="service_role", exp=NOW - 60), "expired"),
        ("sb_publishable_" + "x" * 20, "publishable"),
        ("sb_secret_", "sb_secret_"),
        ("sbp_" + "x" * 40, "service_role"),
        ("a.b.c", "service_role"),
        ("x" * 40, "service_role"),
    ],
    ids=["anon", "authenticated", "no role", "expired", "publishable", "half a key", "token", "no JWT", "noise"],
)
def test_a_key_that_cannot_reconcile_is_refused(value: str, word: str) -> None:
    assert word in fault_of("SUPABASE_SERVICE_ROLE_KEY", value)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "abc", "٣", "1e3", "9" * 20])
def test_a_tolerance_that_is_no_positive_number_of_seconds_is_refused(value: str) -> None:
    fault_of("STRIPE_WEBHOOK_TOLERANCE", value)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "10", "1e9", "abc"])
def test_an_rpc_timeout_beyond_stripes_patience_is_refused(value: str) -> None:
    fault_of("RELAY_RPC_TIMEOUT", value)


@pytest.mark.parametrize("value", ["-1", "65536", "80a", "8080.0"])
def test_what_is_no_port_is_refused(value: str) -> None:
    fault_of("RELAY_PORT", value)


def test_an_unknown_log_level_is_refused() -> None:
    assert settings(RELAY_LOG_LEVEL="DEBUG").log_level == "debug"
    fault_of("RELAY_LOG_LEVEL", "chatty")


def test_accounts_are_ids_separated_by_commas() -> None:
    assert settings(STRIPE_ACCOUNTS=" acct_1A, acct_2b ").stripe_accounts == {"acct_1A", "acct_2b"}
    for value in ("seller_one", "acct_", "acct_1,", ",acct_1", "acct_1 acct_2", "acct_1/acct_2", f"acct_{'a' * 251}"):
        fault_of("STRIPE_ACCOUNTS", value)


def test_sessions_without_a_reference_are_exceptions_or_ignored() -> None:
    assert settings(RELAY_UNREFERENCED_SESSIONS="ignore").ignores_unreferenced is True
    assert settings(RELAY_UNREFERENCED_SESSIONS="exception").ignores_unreferenced is False
    fault_of("RELAY_UNREFERENCED_SESSIONS", "ignored")


def test_metadata_keys_are_stripes_and_separated_by_commas() -> None:
    assert settings(RELAY_METADATA_KEYS=" campaign, Gift note ").metadata_keys == frozenset({"campaign", "Gift note"})
    assert settings(RELAY_METADATA_KEYS=" ").metadata_keys is None
    assert settings(RELAY_METADATA_KEYS="k" * 40).metadata_keys == frozenset({"k" * 40})
    for value in ("campaign,", ",campaign", "a,,b", "k" * 41, "a[b]", "a\nb", ","):
        fault_of("RELAY_METADATA_KEYS", value)


def test_no_repr_shows_a_secret() -> None:
    usable = settings()
    shown = repr(usable) + str(usable) + repr(Secret("hidden")) + str(Secret("hidden")) + f"{Secret('hidden')}"

    for secret in (usable.stripe_secret_key, *usable.stripe_webhook_secrets, usable.supabase_service_role_key):
        assert secret.reveal() not in shown
    assert "hidden" not in shown


def test_the_example_file_names_exactly_the_settings_and_their_defaults() -> None:
    example = (Path(__file__).parent.parent / ".env.example").read_text()

    assert dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE)) == dict(VARIABLES)
