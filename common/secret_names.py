"""Which names say that a value is secret: of settings, options, variables, keys of a document.

One answer for every place: text, Helm values, manifests, the environment. A name counts by how it
ends, for `jwt_secret` is one, and `secret_name` says where one is kept.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_SENSITIVE: Mapping[str, frozenset[str]] = {
    "api": frozenset({"secret_key"}),
    "api_auth": frozenset({"jwt_secret"}),
    "celery": frozenset({"broker_url", "flower_basic_auth", "result_backend"}),
    "celery_broker_transport_options": frozenset({"sentinel_kwargs"}),
    "celery_result_backend_transport_options": frozenset({"sentinel_kwargs"}),
    "core": frozenset({"asset_manager_kwargs", "fernet_key", "internal_api_secret_key"}),
    "database": frozenset(
        {"sql_alchemy_conn", "sql_alchemy_conn_async", "sql_alchemy_engine_args"}
    ),
    "keycloak_auth_manager": frozenset({"client_secret"}),
    "logging": frozenset({"remote_task_handler_kwargs"}),
    "opensearch": frozenset({"password", "username"}),
    "secrets": frozenset({"backend_kwargs"}),
    "sentry": frozenset({"sentry_dsn"}),
    "webserver": frozenset({"secret_key"}),
    "workers": frozenset({"secrets_backend_kwargs"}),
}
"""What Airflow itself marks `sensitive: true`, by section of its configuration.

Read from airflow/config_templates/config.yml of the wheels of apache-airflow-core 3.0.4, 3.0.6,
3.1.1, 3.1.8, 3.2.0, 3.3.2 and 3.4.0b2, and from get_provider_info.py of the providers celery
3.26.0, keycloak 0.11.2 and opensearch 1.15.0 (amazon, edge3, elasticsearch, fab, google,
microsoft-azure, openlineage and smtp mark none). `webserver` had the key before 3.0."""

_TELLING = frozenset().union(*_SENSITIVE.values()) - {"username"}
"""Options that say in any section, or in none, that they are sensitive."""

_OF_AIRFLOW = frozenset(
    {
        *("api", "api_auth", "celery_kubernetes_executor", "cli", "core", "dag_processor"),
        *("database", "email", "kubernetes", "kubernetes_executor", "lineage", "local_kubernetes"),
        *(
            "logging",
            "metrics",
            "operators",
            "scheduler",
            "secrets",
            "sensors",
            "standard_provider",
        ),
        *("traces", "triggerer", "usage_data_collection", "webserver", "workers"),
    }
)
"""Sections of which Airflow says which options are sensitive; what else they hold is harmless."""

_HARMLESS = frozenset(
    {
        # Where and how a program runs.
        *("HOME", "HOSTNAME", "LANG", "LANGUAGE", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TZ"),
        *("NO_PROXY", "no_proxy", "NAMESPACE", "POD_NAME", "POD_NAMESPACE", "POD_IP"),
        *("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"),
        # Which database, region, environment: addresses, without a login.
        *("PGAPPNAME", "PGDATABASE", "PGHOST", "PGPORT", "PGSSLMODE", "PGUSER"),
        *("AWS_DEFAULT_REGION", "AWS_REGION", "ENV", "ENVIRONMENT", "LOG_LEVEL"),
        *("AIRFLOW_HOME", "AIRFLOW_VERSION", "DUMB_INIT_SETSID", "CONNECTION_CHECK_MAX_COUNT"),
    }
)
"""Environment variables whose literal value may be read by anybody. Of any other nobody knows."""

# These make a secret of a name that ends in them, `PGPASSWORD` or `clientsecret`.
_GLUED = (
    r"passw(?:or)?d|passphrase|passcode|authorization|token|secret|cookie|credentials?"
    r"|(?:api|access|secret|private|account|fernet|signing|encryption|storage|master)key"
    r"|connectionstring|sharedaccesssignature"
)
# These do as words of their own: not in `compass` nor in `design`.
_WORDS = (
    r"pass|pw|pwd|dsn|jwt|webhook(?:_url)?|bearer|auth_header|basic_auth|connection_string"
    r"|client_key_data|keyfile_dict|keytab_base64_content|airflow_(?:conn|var)_\w+"
    r"|shared_access_signature|x_(?:amz|goog)_(?:signature|credential)"
    r"|(?:api|access|secret|private|fernet|signing|encryption|account|shared_access|storage|master"
    r"|service|ssh|deploy|license|consumer|integration|subscription|service_account)_key(?:_id)?"
)
_IS_SECRET = re.compile(rf"(?:\w*(?:{_GLUED})(?:_id)?|(?:\w*_)?(?:{_WORDS}|secret_access_key))")
# Names of Secrets, and of what is no secret at all.
_REFERENCE = re.compile(
    r"(?:\w*_)?(?:existing|credentials|ssh_key|fernet_key|conn|pull|tls|certificates?)_secret"
    r"|(?:\w*_)?(?:next_)?page_token|(?:\w*_)?automount_service_account_token"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[^a-z0-9_]+")
_OPTION = re.compile(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+)")
_COMMAND = ("_CMD", "_SECRET")
_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s]+)@")


def plain(name: str) -> str:
    """Return a name in lower case, its words apart: `apiSecretKey` is `api_secret_key`."""
    return _BETWEEN.sub("_", _CAMEL.sub("_", name).lower()).strip("_")


@lru_cache(maxsize=8192)
def is_secret(name: str) -> bool:
    """Tell whether a name says that its value is secret."""
    if option := _OPTION.fullmatch(name):
        return is_sensitive(option[1].lower(), option[2].lower())
    return plain(name.rpartition(".")[2]) in _TELLING or _says_so(plain(name))


def is_sensitive(section: str, option: str) -> bool:
    """Tell whether an option of Airflow's is sensitive: by Airflow's own list, or by its name."""
    if option.endswith("_secret") and option.removesuffix("_secret") in _TELLING:
        return False  # its place in a secrets backend
    listed = option in _SENSITIVE.get(section, ()) or option in _TELLING
    return listed or _says_so(plain(option))


def _says_so(words: str) -> bool:
    return bool(_IS_SECRET.fullmatch(words)) and not _REFERENCE.fullmatch(words)


@lru_cache(maxsize=4096)
def is_harmless_variable(name: str) -> bool:
    """Tell whether the literal value of an environment variable may be read by anybody.

    Whoever sets a variable may put a secret into it: only what is known to hold none is harmless.
    """
    if name in _HARMLESS:
        return True
    if option := _OPTION.fullmatch(name):
        section, key = option[1].lower(), option[2].lower()
        command = name.endswith(_COMMAND[0])
        return section in _OF_AIRFLOW and not command and not is_sensitive(section, key)
    return (
        name.startswith("HA_CHAOS_")
        and not re.search(r"(?:DSN|URL)$", name)
        and not is_secret(name)
    )


def secrets_of(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that are secret by their names, and the passwords in URLs."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from secrets_of(value)
        elif isinstance(value, str):
            if is_secret(name) and not value.startswith("/"):
                yield value
            yield from _PASSWORD.findall(value)
