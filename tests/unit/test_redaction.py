"""No form in which a secret is written down gets through, and innocent text stays as it is."""

import base64
import io
import random

import pytest

from common.redaction import LONGEST, redact, stream

CANARY = "hunter2-Canary"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMWEyIn0.sflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
FERNET = "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs="
BODY = "\n".join([f"MIIE{CANARY.replace('-', '+')}{i:02}" + "A" * 44 for i in range(20)])
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"
SECRET = base64.b64encode(f"postgresql://airflow:{CANARY}@db/airflow".encode()).decode()

FORMS = {
    "json": f'{{"password": "{CANARY}", "user": "airflow"}}',
    "json, nested and escaped": rf'{{"extra": "{{\"password\": \"{CANARY}\"}}"}}',
    "yaml": f"user: airflow\npassword: {CANARY}\nhost: db\n",
    "yaml, quoted": f"jwtSecret: '{CANARY}'\n",
    "yaml, a pod's environment": f"env:\n  - name: DB_PASSWORD\n    value: {CANARY}\n",
    "json, a pod's environment": f'[{{"name": "DB_PASSWORD", "value": "{CANARY}"}}]',
    "repr, a pod's environment": f"{{'name': 'DB_PASSWORD', 'value': '{CANARY}'}}",
    "environment": f"AIRFLOW__API_AUTH__JWT_SECRET={CANARY}\nPATH=/bin",
    "environment, a key": f"AIRFLOW__API__SECRET_KEY={CANARY}",
    "environment, a connection": f"AIRFLOW_CONN_DB=mysql://root:{CANARY}@db:3306/x",
    "environment, a connection in JSON": f'AIRFLOW_CONN_DB=\'{{"password": "{CANARY}"}}\'',
    "dotenv, quoted": f'PGPASSWORD="{CANARY} with more"',
    "url": f"postgresql+psycopg2://airflow:{CANARY}@127.0.0.1:5432/airflow",
    "url, in an error": f'could not connect to "https://x:{CANARY}@host/path?a=b"',
    "conninfo": f"host=127.0.0.1 password={CANARY} user=airflow",
    "query": f"GET /login?next=/&access_token={CANARY}&x=1",
    "header": f"Authorization: Basic {CANARY}",
    "header, a token": f"X-Vault-Token: {CANARY}",
    "header, a cookie": f"Set-Cookie: {CANARY}; Path=/",
    "bearer": f"sent Bearer {CANARY} to the API",
    "curl": f"curl -H 'Authorization: Bearer {CANARY}' https://host",
    "repr": f"{{'password': '{CANARY}'}}",
    "repr, keyword": f"connect(host='db', password='{CANARY}')",
    "repr, a double quote in it": f"{{'password': '{CANARY}\"x'}}",
    "argument": f"createuser --password {CANARY} airflow",
    "argument, with =": f"--db-password={CANARY}",
    "argument of kubectl": f"kubectl create secret generic x --from-literal=password={CANARY}",
    "argv": f"['airflow', '--password', '{CANARY}']",
    "sql": f"CREATE ROLE airflow LOGIN PASSWORD '{CANARY}'",
    "simple auth manager": f"Simple auth manager | Password for user 'admin': {CANARY}",
    "password file": f"127.0.0.1:5432:*:airflow:{CANARY}",
    "ini": f"[core]\nfernet_key = {CANARY}\n",
    "aws": f"aws_secret_access_key = {CANARY}",
    "kubeconfig": f"users:\n- name: me\n  user:\n    token: {CANARY}\n",
    "kubeconfig, a key": f"    client-key-data: {CANARY}\n",
    "helm values": f"data:\n  metadataConnection:\n    user: airflow\n    password: {CANARY}",
}

ITSELF = {
    "jwt": (f"said {JWT} to it", JWT),
    "fernet": (f"FERNET_KEY: {FERNET}", FERNET),
    "fernet, prose": (f"the fernet key = '{FERNET}'", FERNET),
    "private key": (f"key: |\n{PEM}\nrest: kept", BODY),
    "private key, indented": ("key: |\n" + PEM.replace("\n", "\n    "), BODY.split("\n")[7]),
    "private key, escaped": (f'{{"key": "{PEM}"}}'.replace("\n", "\\n"), BODY.split("\n")[7]),
    "aws key id": ("found AKIAIOSFODNN7EXAMPLE in it", "AKIAIOSFODNN7EXAMPLE"),
    "github": ("x ghp_0123456789abcdefghijABCDEFGHIJ012345 y", "ghp_0123456789abcdefghij"),
    "secret of kubernetes": (
        f"kind: Secret\ndata:\n  connection: {SECRET}\n  other: {SECRET}\ntype: x\n",
        SECRET,
    ),
    "secret of kubernetes, json": (f'{{"data": {{"c": "{SECRET}"}}, "kind": "Secret"}}', SECRET),
}

INNOCENT = [
    "ti 01a20304 scheduler-2 http://127.0.0.1:8080/execution/ 409 invalid_state",
    "TaskInstanceKey(dag_id='issue_57618', task_id='start', run_id='57618-bd2283f6', map_index=-1)",
    "secretName: airflow-metadata",
    "password_file: /run/secrets/pw",
    "tokens are checked; the token was refused",
    "password authentication failed for user airflow",
    "passwords=3 tokenizer=x",
    "a bearer of news, basic authentication",
    "token=None password: null",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "primary key=ti_id (key: value)",
    "2026-11-22 12:05:38.887 UTC [1274] scheduler-2 LOG:  process 1274 still waiting",
    "kind: ConfigMap\ndata:\n  airflow.cfg: x\n",
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_secret_is_masked_in_every_form(form: str) -> None:
    masked = redact(FORMS[form])
    assert CANARY not in masked
    assert "hunter2" not in masked
    assert "***" in masked


@pytest.mark.parametrize("form", ITSELF, ids=str)
def test_what_is_a_secret_by_its_form_is_masked(form: str) -> None:
    text, secret = ITSELF[form]
    assert secret not in redact(text)


def test_what_follows_a_private_key_stays() -> None:
    assert redact(f"{PEM}\nrest: kept").endswith("\nrest: kept")


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_masking_twice_is_masking_once() -> None:
    for text in FORMS.values():
        assert redact(redact(text)) == redact(text)


def test_a_known_value_is_masked_wherever_it_stands() -> None:
    known = "p/w?9x Z"
    encoded = base64.b64encode(known.encode()).decode()
    masked = redact(f"so {known}; p%2Fw%3F9x%20Z; {encoded}", [known])
    assert masked == "so ***; ***; ***"


def test_a_password_that_is_a_common_word_does_not_eat_the_log() -> None:
    assert redact("the airflow scheduler", ["airflow"]) == "the airflow scheduler"


@pytest.mark.parametrize("seed", range(4))
def test_a_long_text_is_redacted_as_a_whole_would_be(seed: int) -> None:
    """No cut falls into a secret, wherever the reader's pieces end; nothing else is lost."""
    chance = random.Random(seed)
    lines = []
    for number in range(3_000):
        filler = f"{number} {'x' * chance.randrange(200)}"
        lines.append(chance.choice((filler, f'"token": "{CANARY}{number}"', PEM)))
    text = "\n".join(lines)
    kept = io.StringIO()
    source = io.StringIO(text)
    stream(lambda _: source.read(chance.randrange(1, 3 * LONGEST)), kept.write, ["a known value"])
    assert kept.getvalue() == redact(text)
    assert "hunter2" not in kept.getvalue()


def test_a_line_without_end_is_not_cut_in_its_secrets() -> None:
    line = "y" * (2 * LONGEST) + " " + f"password={CANARY} " * 30_000
    kept = io.StringIO()
    stream(io.StringIO(line).read, kept.write)
    assert kept.getvalue() == redact(line)
