"""Made-up secrets of every kind, in the forms in which people write them down.

They are put together when they are needed: nothing that looks like a secret stands in this file.
"""

import base64
import json
import random
import re
import string
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

_BOTH = string.ascii_letters + string.digits


def secret(seed: str, length: int = 14, alphabet: str = _BOTH) -> str:
    """Return a made-up value, the same for the same seed; it is in nothing else."""
    dice = random.Random(seed)
    return "".join(dice.choice(alphabet) for _ in range(length))


@dataclass(frozen=True)
class Canary:
    """A text that holds secrets; none of `parts` may be found after it was redacted."""

    text: str
    parts: tuple[str, ...]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _marker(kind: str, what: str = "") -> str:
    return "-----" + " ".join(filter(None, [kind, what, "PRIVATE", "KEY"])) + "-----"


def _pem(value: str, what: str) -> str:
    body = "\n".join(f"MIIE{value}{number:02}{'A' * 30}" for number in range(4))
    return f"{_marker('BEGIN', what)}\n{body}\n{_marker('END', what)}"


def _before_lines(prefix: str, text: str) -> str:
    return "\n".join(prefix + line for line in text.split("\n"))


def _pgp(value: str) -> str:
    begin, end = (_marker(kind, "PGP").replace("KEY", "KEY BLOCK") for kind in ("BEGIN", "END"))
    return f"{begin}\nVersion: 1\n\n{value}{'B' * 40}\n=aBcD\n{end}"


def _jwt(value: str) -> str:
    header, payload = (_encoded(json.dumps({key: "x"})).rstrip("=") for key in ("alg", "sub"))
    return f"{header}.{payload}.{value}"


def _of_json(**fields: object) -> Callable[[str], str]:
    return lambda value: json.dumps(fields).replace("?", value)


Made = Callable[[str], str]

URLS: dict[str, Made] = {
    "url": lambda v: f"postgresql+psycopg2://airflow:{v}@127.0.0.1:5432/airflow",
    "url, a slash in it": lambda v: f"postgresql://airflow:{v}/{v}@db/airflow",
    "url, an at sign in it": lambda v: f"mysql://root:{v}@{v}@db:3306/x",
    "url, a hash in it": lambda v: f"postgresql://airflow:{v}#{v}@db/airflow",
    "url, a question mark in it": lambda v: (
        f"postgresql://airflow:{v}?{v}@db/airflow?sslmode=require"
    ),
    "url, everything in it": lambda v: f"postgresql://airflow:{v}/#?@{v}:{v}@db/airflow",
    "url, a quote in it": lambda v: f"using postgresql://airflow:{v}'{v}@db/airflow now",
    "url, a space in it": lambda v: f"postgresql://airflow:{v} {v}@db/airflow",
    "url, cut off": lambda v: f"sqlalchemy.exc: 'postgresql://airflow:{v}...",
    "url, quoted": lambda v: f'could not connect to "https://x:{v}@host/path?a=b"',
    "url, in a query": lambda v: f"GET /x?next=postgres%3A%2F%2Fairflow%3A{v}%40db&y=1",
    "url, escaped slashes": lambda v: rf"redis:\/\/:{v}@redis:6379\/0",
    "redis": lambda v: f"redis://:{v}@redis:6379/0",
    "redis, a slash in it": lambda v: f"redis://:{v}/{v}@redis.example:6379/0",
    "amqp": lambda v: f"amqp://guest:{v}@rabbit:5672//",
    "mongodb": lambda v: f"mongodb://u:{v}@one:27017,two:27017/db?replicaSet=x",
    "git": lambda v: f"https://robot:{v}@git.example/dags.git",
    "a user alone": lambda v: f"https://{v}@o1.ingest.example/42",
    "slack": lambda v: f"https://hooks.slack.com/services/T0/B0/{v}",
    "a webhook of one's own": lambda v: f"https://hooks.example/services/{v}",
    "teams": lambda v: f"https://acme.webhook.office.com/webhookb2/{v}@x/IncomingWebhook/{v}/y",
    "discord": lambda v: f"https://discord.com/api/webhooks/123456/{v}",
    "telegram": lambda v: f"https://api.telegram.org/bot123456:{v}/sendMessage",
    "sas url": lambda v: f"https://acme.blob.example/c/b?sv=2024&sig={v}%3D&se=2",
    "aws, signed": lambda v: f"https://b.s3.example/k?X-Amz-Date=1&X-Amz-Signature={v}",
    "google, signed": lambda v: f"https://storage.example/k?X-Goog-Signature={v}",
    "jdbc": lambda v: f"jdbc:postgresql://db/airflow?user=x&password={v}",
    "jdbc, oracle": lambda v: f"jdbc:oracle:thin:scott/{v}@//db:1521/svc",
    "jdbc, sql server": lambda v: f"jdbc:sqlserver://db;user=x;password={v};encrypt=true",
}

SETTINGS: dict[str, Made] = {
    "conninfo": lambda v: f"host=127.0.0.1 password={v} user=airflow",
    "conninfo, quoted": lambda v: rf"host=db password='{v} \'{v}\' x' user=airflow",
    "conninfo, an escaped space": lambda v: rf"host=db password={v}\ {v} user=airflow",
    "conninfo, signs": lambda v: f"host=db password={v},{v}&{v};{v} user=airflow",
    "conninfo, quoted in a message": lambda v: f'cannot use "host=db password={v}"',
    "odbc": lambda v: f"Driver=x;Server=tcp:db;Uid=x;Pwd={{{v};{v}}};Encrypt=yes",
    "azure, a key": lambda v: (
        f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={v}==;X=y"
    ),
    "azure, a signature": lambda v: f"SharedAccessSignature sr=acme&sig={v}%3D&se=1&skn=x",
    "azure, a bus": lambda v: f"Endpoint=sb://x/;SharedAccessKeyName=x;SharedAccessKey={v}=",
    "json": _of_json(password="?", user="airflow"),
    "json, a number of digits": lambda v: json.dumps({"password": int.from_bytes(v[:6].encode())}),
    "json, escaped": lambda v: json.dumps({"extra": json.dumps({"password": v})}),
    "yaml": lambda v: f"user: airflow\npassword: {v}\nhost: db\n",
    "yaml, words": lambda v: f"user: airflow\npassword: {v} and {v}\nhost: db\n",
    "yaml, a block": lambda v: f"password: |-\n  {v}\n  {v}\nhost: db\n",
    "yaml, quoted": lambda v: f"jwtSecret: '{v}'\n",
    "environment": lambda v: f"AIRFLOW__API_AUTH__JWT_SECRET={v}\nPATH=/bin",
    "environment, sensitive to Airflow": lambda v: f"AIRFLOW__CELERY__FLOWER_BASIC_AUTH=me:{v}",
    "environment, a connection": lambda v: f"AIRFLOW_CONN_DB=mysql://root:{v}@db:3306/x",
    "environment, a connection in JSON": lambda v: f'AIRFLOW_CONN_DB=\'{{"extra": "{v}"}}\'',
    "environment, a variable of Airflow's": lambda v: f"AIRFLOW_VAR_X={v}",
    "dotenv": lambda v: f'export PGPASSWORD="{v} with more"',
    "ini": lambda v: f"[core]\nfernet_key = {v}\n",
    "ini, sensitive to Airflow": lambda v: f"[secrets]\nbackend_kwargs = {{'x': '{v}'}}\n",
    "repr": lambda v: f"{{'password': '{v}'}}",
    "repr, keyword": lambda v: f"connect(host='db', password='{v}')",
    "repr, a double quote in it": lambda v: f"{{'password': '{v}\"{v}'}}",
    "repr, cut off": lambda v: f"{{'password': '{v} and",
    "repr, bytes": lambda v: f"secret=b'{v}'",
    "repr, a line before": lambda v: rf"'x\npassword={v}\ny'",
    "prose": lambda v: f"the fernet key = '{v}'",
    "airflow's connection": lambda v: json.dumps(
        {"conn_type": "x", "login": "me", "extra": {"a": {"b": v}, "c": v}}
    ),
    "airflow's connection, extra as text": lambda v: json.dumps(
        {"conn_type": "x", "extra": json.dumps({"region": v})}
    ),
    "docker's login": _of_json(auths={"registry.example": {"auth": "?"}}),
    "kubeconfig": lambda v: f"users:\n- name: me\n  user:\n    token: {v}\n",
    "kubeconfig, a key": lambda v: f"    client-key-data: {v}\n",
    "pod's environment": lambda v: f"env:\n  - name: DBT_TARGET\n    value: {v}\n",
    "pod's environment, a block": lambda v: f"env:\n  - name: DBT_X\n    value: |\n      {v}\n",
    "pod's environment, turned": lambda v: f"env:\n  - value: {v}\n    name: DBT_TARGET\n",
    "pod's environment in JSON": lambda v: json.dumps([{"name": "DBT_TARGET", "value": v}]),
    "pod's environment as repr": lambda v: (
        f"{{'name': 'DBT_X', 'value': '{v}', 'value_from': None}}"
    ),
    "a Secret": lambda v: f"kind: Secret\ndata:\n  x: {_encoded(v)}\n  {'y'}: {v}\ntype: x\n",
    "a Secret in JSON": lambda v: json.dumps({"data": {"x": v}, "kind": "Secret"}),
    "a Secret in an annotation": lambda v: json.dumps(
        {"last-applied": json.dumps({"kind": "Secret", "stringData": {"x": v}})}
    ),
}

NAMED: dict[str, Made] = {
    f"named {name}": partial("x: 1, {0}={1} y".format, name)
    for name in (
        *("gcp_credentials", "authorization", "report_dsn", "alert_webhook_url", "broker_url"),
        *("result_backend", "sql_alchemy_conn", "connectionString", "connection_string"),
        *("auth_header", "bearer", "x-vault-token", "db_pwd", "session_cookie", "basic_auth"),
    )
}

OTHERS: dict[str, Made] = {
    "header": lambda v: f"Authorization: Bearer {v}1, more",
    "header, basic": lambda v: f"Proxy-Authorization: Basic {_encoded('me:' + v)}",
    "header, a token": lambda v: f"X-Vault-Token: {v}",
    "cookies": lambda v: f"Set-Cookie: session={v}; csrf={v}; Path=/",
    "cookies as repr": lambda v: f"{{'Cookie': 'session={v}; csrf={v}'}}",
    "bearer": lambda v: f"sent Bearer {v}1 to the API",
    "basic": lambda v: f"sent basic {_encoded('me:' + v)} to the API",
    "curl": lambda v: f"curl -u me:{v} https://host",
    "curl, a header": lambda v: f"curl -H 'Authorization: Bearer {v}' https://host",
    "argument": lambda v: f"createuser --password {v} airflow",
    "argument, with =": lambda v: f"--db-password={v}",
    "argument of kubectl": lambda v: f"kubectl create secret generic x --from-literal=password={v}",
    "argument of helm": lambda v: f"helm install x --set data.metadataConnection.pass={v}",
    "argument of mysql": lambda v: f"mysql -h db -p{v} airflow",
    "argument of sshpass": lambda v: f"sshpass -p {v} ssh host",
    "argv": lambda v: f"['airflow', '--password', '{v}']",
    "argv in yaml": lambda v: f"args:\n  - --password\n  - {v}\n",
    "sql": lambda v: f"CREATE ROLE airflow LOGIN PASSWORD '{v}''{v}'",
    "simple auth manager": lambda v: f"Simple auth manager | Password for user 'admin': {v}",
    "pgpass": lambda v: f"127.0.0.1:5432:*:airflow:{v}",
    "netrc": lambda v: f"machine host login me password {v}",
    "netrc, lines": lambda v: f"machine host\n  login me\n  password {v}\n",
    "jwt": lambda v: f"said {_jwt(v)} to it",
    "private key": lambda v: _pem(v, "RSA"),
    "private key, of OpenSSH": lambda v: f"key: |\n{_pem(v, 'OPENSSH')}\nrest: kept",
    "private key, escaped": lambda v: json.dumps({"key": _pem(v, "")}),
    "private key, cut off": lambda v: _pem(v, "EC").rpartition("\n")[0],
    "private key, in a failure": lambda v: _before_lines("E   ", _pem(v, "")),
    "private key, in a log": lambda v: _before_lines("2026-11-22 x ", _pem(v, "")),
    "private key, of PGP": _pgp,
    "google's account": lambda v: json.dumps({"private_key": _pem(v, ""), "client_email": "x@y"}),
    "aws, a key": lambda v: f"aws_secret_access_key = {v}",
}  # fmt: skip

KINDS = URLS | SETTINGS | NAMED | OTHERS

# What is found in another writing than the text has it.
_LOOKED_FOR: dict[str, Made] = {
    "json, a number of digits": lambda v: str(int.from_bytes(v[:6].encode())),
    "docker's login": lambda v: v,
}

_BY_FORM: dict[str, Callable[[str], str]] = {
    "url in base64": lambda v: _encoded(f"postgresql://airflow:{v}@db/airflow"),
    "private key in base64": lambda v: _encoded(_pem(v, "")),
    "header, basic": lambda v: _encoded("me:" + v),
    "basic": lambda v: _encoded("me:" + v),
    "aws": lambda v: "AK" + "IA" + v.upper().ljust(16, "7")[:16],
    "github": lambda v: "gh" + "p_" + v.ljust(36, "7"),
    "gitlab": lambda v: "gl" + "pat-" + v.ljust(20, "7"),
    "slack's token": lambda v: "xo" + "xb-" + v,
}


# Of what begins alike for all, the part that does not.
_UNLIKE: dict[str, Callable[[str], str]] = {
    "url in base64": lambda text: text[30:44],
    "private key in base64": lambda text: text[44:60],
}


def canary(kind: str, seed: str) -> Canary:
    """Return a canary of a kind, with a secret that only this seed has."""
    value = secret(f"{kind}/{seed}")
    by_form = _BY_FORM.get(kind)
    if kind not in KINDS:
        assert by_form is not None
        found = by_form(value)
        return Canary(f"x {found} y", (_UNLIKE.get(kind, str)(found),))
    looked_for = by_form or _LOOKED_FOR.get(kind, str)
    return Canary(KINDS[kind](value), (looked_for(value),))


ALL = tuple({**KINDS, **_BY_FORM})


def planted(place: str) -> dict[str, Canary]:
    """Return a canary of each kind, with secrets that are in this place alone."""
    return {kind: canary(kind, place) for kind in ALL}


WITHOUT_REDACTION = """

def redact(text, known=()):
    return text


def redact_failure(text):
    return text
"""
"""At the end of common/redaction.py, it lets every secret through that nothing else holds back."""


_PACKED = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def unpacked(data: bytes) -> Iterator[bytes]:
    """Give a file's bytes, and what is packed into it."""
    yield data
    for packed in _PACKED.findall(data):
        try:
            plain = base64.b64decode(packed + b"=" * (-len(packed) % 4))
        except ValueError:
            continue
        yield plain
        for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16):
            try:
                yield zlib.decompress(plain, window)
            except zlib.error:
                continue


def left(texts: Iterable[str], canaries: Iterable[Canary]) -> list[str]:
    """Return what of the canaries is in any of the texts."""
    whole = "\n".join(texts)
    return [part for each in canaries for part in each.parts if part in whole]
