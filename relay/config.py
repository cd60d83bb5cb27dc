"""The settings. They come from the environment and are checked once, at the start; one message names all faults.

`Settings.of_process` reads the environment, the clock and the file of SSL_CERT_FILE, and `unused_proxy` reads the
environment's proxy settings. Everything else depends on its arguments alone.
"""

import base64
import binascii
import json
import math
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

VARIABLES: Final[Mapping[str, str]] = {
    "STRIPE_SECRET_KEY": "",
    "STRIPE_WEBHOOK_SECRET": "",
    "SUPABASE_URL": "",
    "SUPABASE_SERVICE_ROLE_KEY": "",
    "RELAY_HOST": "0.0.0.0",  # noqa: S104  a server in a container listens to the outside
    "RELAY_PORT": "8080",
    "STRIPE_WEBHOOK_TOLERANCE": "300",
    "RELAY_RPC_TIMEOUT": "9",
    "STRIPE_API_BASE": "https://api.stripe.com",
    "RELAY_LOG_LEVEL": "info",
    "STRIPE_LIFECYCLE_WEBHOOK_SECRET": "",
    "STRIPE_ACCOUNTS": "",
    "RELAY_UNREFERENCED_SESSIONS": "exception",
    "RELAY_METADATA_KEYS": "",
}
"""Every variable and its default. A variable with an empty default must be set, unless MAY_BE_EMPTY names it."""
MAY_BE_EMPTY: Final = frozenset({"STRIPE_LIFECYCLE_WEBHOOK_SECRET", "STRIPE_ACCOUNTS", "RELAY_METADATA_KEYS"})
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# In seconds. The relay must answer Stripe within ten seconds. The function's lock_timeout (3 s) and the authenticator's
# statement_timeout (8 s) should fire before the relay gives up; otherwise nobody learns what they decided.
_RPC_TIMEOUT_LIMIT: Final = 10.0
# Kubernetes sets RELAY_PORT to such a URL where a Service is called `relay`: https://kubernetes.io/docs/concepts/services-networking/service/
_SERVICE_LINK: Final = "tcp://"
# OpenSSL reads this variable: the file of trusted certificates, where it is not in its usual place.
_CERTIFICATES: Final = "SSL_CERT_FILE"
_DASHBOARD: Final = frozenset({"supabase.com", "app.supabase.com"})
# Libraries connect to such a host, and verify its certificate, exactly as it is written. They differ on all others.
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?|[0-9A-Fa-f:.]+")
# C libraries also read 134744072, 0x8080808 and 8.8.2056 as addresses: https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
# A project's address, by its reference: https://supabase.com/docs/guides/api
_HOSTED: Final = re.compile(r"([a-z0-9]{20})\.supabase\.co")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_ACCOUNT: Final = re.compile(r"acct_[0-9A-Za-z]{1,250}")
# The values of RELAY_UNREFERENCED_SESSIONS, and whether a paid session without any reference is ignored.
_UNREFERENCED: Final = {"exception": False, "ignore": True}
_LONGEST_METADATA_KEY: Final = 40  # characters
_KEY_MODES: Final = {"sk_live_": True, "rk_live_": True, "sk_test_": False, "rk_test_": False}


_MISSING: Final = "is missing"
_WHERE: Final = (
    "They come from the environment, or from a file: --env-file .env. Of each, .env.example says where it is found."
)
_NO_FAULTS: Final[Mapping[str, str]] = MappingProxyType({})


class SettingsError(ValueError):
    """One or more settings are missing or wrong. The message names all of them and shows none of their
    values.
    """


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that `repr` does not show, and so no log line or traceback does."""

    _text: str

    def reveal(self) -> str:
        """The text. Call this only where the text itself is needed."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked settings of one process."""

    stripe_secret_key: Secret
    stripe_webhook_secrets: tuple[Secret, ...]
    supabase_url: str
    supabase_service_role_key: Secret
    hosts: tuple[str, ...]
    """Where to listen: addresses, or names that lead to some."""
    port: int
    webhook_tolerance: int
    """How many seconds the time of a signature may be off, in either direction."""
    rpc_timeout: float
    """How many seconds the whole call of the database function may take, waiting and a retry included."""
    stripe_api_base: str
    log_level: str
    stripe_accounts: frozenset[str]
    """The Stripe accounts whose events are reconciled. Events that name no account always are."""
    ignores_unreferenced: bool
    """Whether a paid session without any reference is ignored, because something else sold it."""
    stripe_lifecycle_webhook_secrets: tuple[Secret, ...]
    """Those of the lifecycle route; empty: there is none."""
    metadata_keys: frozenset[str] | None
    """The keys of the session's metadata that are sent to the database; None: all."""

    @property
    def livemode(self) -> bool:
        """Whether the Stripe key is a live key."""
        return _is_live(self.stripe_secret_key)

    @property
    def mode(self) -> str:
        """`live` or `test`, as the Stripe key is."""
        return "live" if self.livemode else "test"

    @property
    def shares_webhook_secret(self) -> bool:
        """Whether a secret is named for both routes. Stripe gives each endpoint its own; only its command line uses one
        for all.
        """
        return not set(self.stripe_webhook_secrets).isdisjoint(self.stripe_lifecycle_webhook_secrets)

    @classmethod
    def of_process(cls) -> "Settings":
        """Read the settings from the environment of this process. Raises SettingsError."""
        fault = _certificates_fault(os.environ.get(_CERTIFICATES))
        return cls.from_env(os.environ, now=time.time(), faults={_CERTIFICATES: fault} if fault else {})

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, now: float, faults: Mapping[str, str] = _NO_FAULTS) -> "Settings":
        """Read the settings from `environ`. Raises SettingsError.

        `now` is in seconds since 1970; a key that has expired by then is a fault. `faults` maps a variable to a fault
        that the caller has found already.
        """
        values = {name: value_of(environ, name) or default for name, default in VARIABLES.items()}
        values["RELAY_PORT"] = value_of(environ, "RELAY_PORT") or value_of(environ, "PORT") or values["RELAY_PORT"]
        faults = {name: fault for name, value in values.items() if (fault := _fault(name, value, now))} | dict(faults)
        if not faults.keys() & {"SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"} and _is_of_another_project(values):
            faults["SUPABASE_SERVICE_ROLE_KEY"] = "belongs to another project than SUPABASE_URL names"
        if faults:
            raise _unusable(faults)
        return cls(
            stripe_secret_key=Secret(values["STRIPE_SECRET_KEY"]),
            stripe_webhook_secrets=tuple(map(Secret, _parts(values["STRIPE_WEBHOOK_SECRET"]))),
            supabase_url=_base_url(values["SUPABASE_URL"]),
            supabase_service_role_key=Secret(values["SUPABASE_SERVICE_ROLE_KEY"]),
            hosts=tuple(_parts(values["RELAY_HOST"])),
            port=int(values["RELAY_PORT"]),
            webhook_tolerance=int(values["STRIPE_WEBHOOK_TOLERANCE"]),
            rpc_timeout=float(values["RELAY_RPC_TIMEOUT"]),
            stripe_api_base=_base_url(values["STRIPE_API_BASE"]),
            log_level=values["RELAY_LOG_LEVEL"].lower(),
            stripe_accounts=frozenset(filter(None, _parts(values["STRIPE_ACCOUNTS"]))),
            ignores_unreferenced=_UNREFERENCED[values["RELAY_UNREFERENCED_SESSIONS"]],
            stripe_lifecycle_webhook_secrets=tuple(
                map(Secret, filter(None, _parts(values["STRIPE_LIFECYCLE_WEBHOOK_SECRET"])))
            ),
            metadata_keys=frozenset(_parts(keys)) if (keys := values["RELAY_METADATA_KEYS"]) else None,
        )


@dataclass(frozen=True, slots=True)
class StripeAccess:
    """The two settings that are needed to ask Stripe alone, under their names in Settings."""

    stripe_secret_key: Secret
    stripe_api_base: str

    @classmethod
    def of_process(cls) -> "StripeAccess":
        """Read them from the environment of this process. Raises SettingsError."""
        names = ("STRIPE_SECRET_KEY", "STRIPE_API_BASE")
        values = {name: value_of(os.environ, name) or VARIABLES[name] for name in names}
        faults = {name: fault for name, value in values.items() if (fault := _fault(name, value, time.time()))}
        if faults:
            raise _unusable(faults)
        return cls(Secret(values["STRIPE_SECRET_KEY"]), _base_url(values["STRIPE_API_BASE"]))


def _unusable(faults: Mapping[str, str]) -> SettingsError:
    lines = "\n".join(f"  {name}: {fault}" for name, fault in faults.items())
    where = f"\n{_WHERE}" if _MISSING in faults.values() else ""
    return SettingsError(f"The settings are not usable:\n{lines}{where}")


def _is_live(key: Secret) -> bool:
    return next(live for prefix, live in _KEY_MODES.items() if key.reveal().startswith(prefix))


def value_of(environ: Mapping[str, str], name: str) -> str:
    """What a variable is set to; empty where it is not set or blank."""
    value = environ.get(name, "").strip()
    return "" if name == "RELAY_PORT" and value.startswith(_SERVICE_LINK) else value


def unused_proxy(settings: Settings) -> str | None:
    """The name of the proxy variable that other programs would obey on the way to the Data API; None where there is
    none. The relay connects directly and warns about that at its start.
    https://everything.curl.dev/usingcurl/proxies/env.html
    """
    url = urlsplit(settings.supabase_url)
    found = getproxies_environment()
    if proxy_bypass(url.hostname or ""):
        return None
    return next((f"{kind.upper()}_PROXY" for kind in (url.scheme, "all") if found.get(kind)), None)


def _certificates_fault(path: str | None) -> str | None:
    """Why the file of trusted certificates cannot be loaded; None where it can. Otherwise only the first connection
    would fail, much later.
    """
    try:
        if path:
            ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError, for a file that holds no certificate, is an OSError
        return f"cannot be loaded: {error.strerror or type(error).__name__}"
    return None


def _base_url(value: str) -> str:
    """Scheme and host in lower case, which all libraries compare equal, and the path without its last slash."""
    url = urlsplit(value)
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",")]


def _fault(name: str, value: str, now: float) -> str | None:
    """What is wrong with the value, in words that do not show it; None where it is fine."""
    if not value:
        return None if name in MAY_BE_EMPTY else _MISSING
    match name:
        case "STRIPE_SECRET_KEY":
            usable = any(len(value) > len(prefix) and value.startswith(prefix) for prefix in _KEY_MODES)
            fault = None if usable and _is_token(value) else "must be an sk_live_, rk_live_, sk_test_ or rk_test_ key"
        case "STRIPE_WEBHOOK_SECRET" | "STRIPE_LIFECYCLE_WEBHOOK_SECRET":
            fault = _webhook_secret_fault(value)
        case "SUPABASE_URL":
            fault = _url_fault(value) or _project_fault(urlsplit(value))
        case "STRIPE_API_BASE":
            fault = _url_fault(value)
            if fault is None and urlsplit(value).path.strip("/"):
                fault = "must be scheme and host only, without a path"
        case "SUPABASE_SERVICE_ROLE_KEY":
            fault = _service_key_fault(value, now)
        case "RELAY_PORT":
            port = _whole_number(value)
            fault = None if port is not None and port <= 65535 else "must be a port between 0 and 65535 (PORT too)"
        case "STRIPE_WEBHOOK_TOLERANCE":
            fault = None if _whole_number(value) else "must be a whole number of seconds above 0"
        case "RELAY_RPC_TIMEOUT":
            fault = _timeout_fault(value)
        case "RELAY_LOG_LEVEL":
            fault = None if value.lower() in LOG_LEVELS else f"must be one of {', '.join(LOG_LEVELS)}"
        case "STRIPE_ACCOUNTS":
            usable = all(map(_ACCOUNT.fullmatch, _parts(value)))
            fault = None if usable else "must be acct_... ids, separated by commas, none of them blank"
        case "RELAY_UNREFERENCED_SESSIONS":
            fault = None if value in _UNREFERENCED else f"must be one of {', '.join(_UNREFERENCED)}"
        case "RELAY_METADATA_KEYS":
            usable = all(map(_is_metadata_key, _parts(value)))
            fault = None if usable else "must be keys of metadata, separated by commas, none of them blank"
        case _:
            usable = all(part and _is_token(part) for part in _parts(value))
            unique = len(set(_parts(value))) == len(_parts(value))
            fault = None if usable and unique else "must be addresses or host names, separated by commas, each once"
    return fault


def _is_token(value: str) -> bool:
    """Printable ASCII without blanks: what can be sent in a header, or resolved."""
    return value.isascii() and value.isprintable() and " " not in value


def _is_metadata_key(value: str) -> bool:
    """Stripe's keys have 40 characters at most and no square brackets: https://docs.stripe.com/api/metadata"""
    return 0 < len(value) <= _LONGEST_METADATA_KEY and value.isprintable() and not set("[]") & set(value)


def _whole_number(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 9 else None


def _webhook_secret_fault(value: str) -> str | None:
    """What is wrong with the secrets; None where nothing is.

    Anybody can sign with an empty secret, and with a wrong one the relay would refuse every event. Either prevents the
    start.
    """
    secrets = _parts(value)
    if not all(secret.startswith("whsec_") and len(secret) > 6 and _is_token(secret) for secret in secrets):
        return "must be whsec_... secrets, separated by commas, none of them blank"
    return "names the same secret twice" if len(set(secrets)) < len(secrets) else None


def _timeout_fault(value: str) -> str | None:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    return None if 0 < seconds < _RPC_TIMEOUT_LIMIT else "must be a number of seconds above 0 and below 10"


def _url_fault(value: str) -> str | None:
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        return "must be a URL"
    if not value.isascii():
        return "must have an ASCII host: write the name as the DNS has it, xn--..."
    if url.scheme not in ("http", "https") or not host or not _is_token(value):
        return "must be an http(s) URL"
    if url.username is not None or url.query or url.fragment:
        return "must be without user and query"
    if not _HOST.fullmatch(host) or (_NUMERIC.fullmatch(host) and not _is_address(host)):
        return "must name its host, or have its address in the usual form"
    if url.scheme == "http" and not _is_nearby(host):
        return "must be https, because the service key travels with each request"
    return None


def _project_fault(url: SplitResult) -> str | None:
    """What is wrong with a project's host, or with the path below which a self-hosted one lies; None where nothing is.

    A dot segment or an escape could be read in two ways on its way through proxies, and supabase-py adds /rest/v1.
    """
    path = url.path.rstrip("/")
    if url.hostname in _DASHBOARD:
        return "is the dashboard's address; the project's own is https://<ref>.supabase.co"
    if path.endswith("/rest/v1"):
        return "must be without /rest/v1, which the relay adds"
    usable = _PATH.fullmatch(path) and not {".", ".."} & set(path.split("/"))
    return None if usable else "must have a path of letters, digits and ._~- alone, if any"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_nearby(host: str) -> bool:
    """Whether plain http may be used: the host is this machine, a container next to it, or in a private network."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".internal", ".local"))
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # Python 3.11 calls every mapped address private
    return address.is_loopback or address.is_private


def _service_key_fault(value: str, now: float) -> str | None:
    if value.startswith("sb_secret_"):
        return None if len(value) > len("sb_secret_") and _is_token(value) else "is not a whole sb_secret_ key"
    if value.startswith("sb_publishable_"):
        return "is a publishable key; it needs the secret one (sb_secret_...) or the service_role JWT"
    claims = _jwt_claims(value)
    if claims is None:
        return "must be a service_role JWT or an sb_secret_... key"
    if claims.get("role") != "service_role":
        return "is a JWT of another role than service_role; the anon key cannot reconcile"
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires <= now:
        return "is a JWT that has expired"
    return None


def _is_of_another_project(values: Mapping[str, str]) -> bool:
    """Whether the key names another project than the address does. A domain of the project's own names none, and
    neither does an sb_secret_ key.
    """
    hosted = _HOSTED.fullmatch(urlsplit(values["SUPABASE_URL"]).hostname or "")
    named = (_jwt_claims(values["SUPABASE_SERVICE_ROLE_KEY"]) or {}).get("ref")
    return hosted is not None and isinstance(named, str) and named != hosted[1]


def _jwt_claims(token: str) -> dict[str, object] | None:
    """The claims, unverified: the relay has no key to verify them with. The Data API verifies them on every call."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts) or not _is_token(token):
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
