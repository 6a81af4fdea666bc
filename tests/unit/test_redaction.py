"""No form in which a secret is written down gets through, and innocent text stays as it is."""

import base64
import io
import json
import logging
import random
import time

import pytest

from common import redaction, secret_forms, secret_settings
from common.redaction import (
    MOST,
    RedactingFormatter,
    redact,
    redact_failure,
    redact_within,
    stream,
)
from common.secret_forms import LONGEST, hide_forms
from common.secret_names import is_harmless_variable, is_secret, secrets_of
from tests.canaries import ALL, canary, left

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
    # Images, hosts, ports, paths.
    "image: registry.example:5000/apache/airflow:3.0.6@sha256:0123456789abcdef0123456789abcdef",
    "imageID: docker-pullable://apache/airflow@sha256:0123456789abcdef0123456789abcdef",
    "postgresql://db.example:5432/airflow?sslmode=require",
    "mongodb://one:27017,two:27017/db",
    "http://[::1]:8080/x http://{host}:{port}/y http://localhost:8080",
    "ssh://git@github.com/apache/airflow.git",
    "Give postgresql://USER:PASSWORD@HOST/DATABASE with ? escaped",
    "PWD=/home/me/checkout",
    # Runs and people with an @.
    "http://127.0.0.1:8080/api/v2/dags/d/dagRuns/manual__2026@1/taskInstances",
    "http://api-server:8080/users/me@example.org?order_by=x",
    "run_id=manual__2026-11-22T00:00:00+00:00@me dag_id=owner@team",
    # Settings that say where a secret is, or that there is none.
    "[core]\nexecutor = KubernetesExecutor\n[api_auth]\njwt_audience = x",
    "secret_name: x\nsecretName: y\nexistingSecret: z\ncredentialsSecret: git",
    "env:\n  - name: DB_PASSWORD\n    valueFrom: {secretKeyRef: {name: db, key: password}}",
    "env:\n  - name: AIRFLOW__CORE__EXECUTOR\n    value: KubernetesExecutor\n",
    '[{"name": "AIRFLOW__CORE__PARALLELISM", "value": "32"}]',
    "volumes: [{name: x, secret: {secretName: y}}]",
    "automountServiceAccountToken: false\nenable_password: true",
    "password: ${DB_PASSWORD}\ntoken: $(TOKEN)\nsecret: {{ .Values.secret }}",
    "password: ''\ntoken: \"\"\nsecret: ~",
    # Words that only look like it.
    "pass: 3 fail: 1; compass: north; a keyboard: qwerty; monkey=7; max_tokens=100",
    "token_type: bearer\nexpires_in: 3600",
    "next_page_token=abc",
    "--set database.sql_alchemy_conn: the lab itself decides that.",
    "the token: expired; its password: not accepted.",
    "docker run -u 1000:1000 -p 8080:8080 airflow",
    "basic authentication is off, Basic auth too",
    'failed calling webhook "x": Post "https://my-webhook.ns.svc:443/mutate?timeout=10s"',
    '{"name": "airflow", "value": "3.0.6"}',
    "UPDATE connection SET conn_type = %s WHERE id = 7",
    "see https://airflow.apache.org/docs/hooks/index.html and /webhooks/index.html",
]

NOT_A_SECRET = ("airflow", "PATH", "12", "/run/secrets/x")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seed", ["one", "two", "three"])
def test_a_secret_of_any_kind_is_masked(kind: str, seed: str) -> None:
    made = canary(kind, seed)
    assert left([made.text], [made]) == list(made.parts)
    for text in (made.text, f"2026-11-22 12:05 INFO - {made.text}", f"({made.text})\nnext: x"):
        masked = redact(text)
        assert left([masked], [made]) == []
        assert "***" in masked


def leaking() -> list[str]:
    made = {kind: canary(kind, "leaking") for kind in ALL}
    return [kind for kind, each in made.items() if left([hide_forms(each.text)], [each])]


@pytest.mark.parametrize("number", range(len(secret_forms.FORMS)))
def test_without_any_form_some_secret_gets_through(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [form for place, form in enumerate(secret_forms.FORMS) if place != number]
    monkeypatch.setattr(secret_forms, "FORMS", tuple(others))
    assert leaking() != []


@pytest.mark.parametrize("word", secret_settings._NAMES)
def test_without_any_word_some_secret_gets_through(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tuple(each for each in secret_settings._NAMES if each != word)
    monkeypatch.setattr(secret_settings, "_NAMES", others)
    assert leaking() != []


@pytest.mark.parametrize("kind", ALL)
def test_masking_twice_is_masking_once(kind: str) -> None:
    once = redact(canary(kind, "one").text)
    assert redact(once) == once


@pytest.mark.parametrize("kind", ALL)
def test_what_a_task_printed_is_masked_in_the_worker_s_log(kind: str) -> None:
    """Airflow logs each line of it as an object of its own, after and before others."""
    made = canary(kind, "printed")
    lines = ["first", *made.text.split("\n"), "", "last: words"]
    text = "\n".join(
        json.dumps({"timestamp": "2026", "level": "info", "event": line, "logger": "task.stdout"})
        for line in lines
    )
    log = f'{{"event": "a"}}\n{text}\nplain'
    masked = redact(log)
    assert left([masked], [made]) == []
    kept = [json.loads(line) for line in masked.split("\n")[1:-1]]
    assert len(kept) == len(lines)
    assert [each["logger"] for each in kept] == ["task.stdout"] * len(lines)
    assert [kept[0]["event"], kept[-1]["event"]] == ["first", "last: words"]


def test_what_follows_a_private_key_stays() -> None:
    for kind in ("private key, of OpenSSH", "private key, of PGP"):
        assert redact(f"{canary(kind, 'x').text}\nrest: kept").endswith("\nrest: kept")


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_known_value_is_masked_wherever_it_stands() -> None:
    known = "p/w?9x Z"
    encoded = base64.b64encode(known.encode()).decode()
    masked = redact(f"so {known}; p%2Fw%3F9x%20Z; {encoded}", [known])
    assert masked == "so ***; ***; ***"


def test_a_password_that_is_a_common_word_does_not_eat_the_log() -> None:
    assert redact("the airflow scheduler", ["airflow"]) == "the airflow scheduler"


def test_a_known_value_is_masked_within_base64() -> None:
    for before in ("", "x", "xy"):
        encoded = base64.b64encode(f"{before}Tr0ub4dor-and-3/known".encode()).decode()
        masked = redact(encoded, ["Tr0ub4dor-and-3"])
        assert "***" in masked
        assert "Tr0u" not in base64.b64decode(masked.partition("***")[0] + "==").decode()


def test_what_is_remembered_is_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_remembered", {})
    redaction.remember(["kept-Value-0", *NOT_A_SECRET])
    assert redact("x kept-Value-0 the airflow scheduler 12") == "x *** the airflow scheduler 12"
    redaction.remember(f"kept-Value-{n}" for n in range(1, MOST + 1))
    assert redact("kept-Value-0; kept-Value-9") == "kept-Value-0; ***"


def test_secrets_are_known_by_the_names_of_settings() -> None:
    settings = {
        "password": "p-1",
        "DB": {"url": "postgresql://a:p/2@h/d"},
        "GIT_TOKEN": "p-3",
        "token_file": "/run/x",
        "PWD": "/home/me",
        "seed": "7",
    }
    assert [*secrets_of(settings)] == ["p-1", "p/2", "p-3"]


def test_plain_data_is_redacted_wherever_it_holds_text() -> None:
    made = canary("url", "data")
    data = {"a": [1, None, made.text], made.text: {"b": (made.text, True)}}
    assert left([str(redact_within(data))], [made]) == []
    assert redact_within({"a": [1, None, True, 2.5]}) == {"a": [1, None, True, 2.5]}


def test_a_log_record_is_redacted_with_its_traceback() -> None:
    made = canary("url", "record")
    formatter = RedactingFormatter(logging.Formatter("%(name)s %(message)s"))
    try:
        raise ValueError(made.text)
    except ValueError as error:
        record = logging.LogRecord("x", 20, "f", 1, "%s", (made.text,), None)
        record.exc_info = (ValueError, error, error.__traceback__)
    text = formatter.format(record)
    assert text.startswith("x postgresql")
    assert "ValueError" in text
    assert left([text], [made]) == []


SECRET_NAMES = (
    *(
        "password",
        "PGPASSWORD",
        "dbPassword",
        "jwt_secret",
        "metadataConnection.pass",
        "AccountKey",
    ),
    *("client-key-data", "SENTRY_DSN", "AIRFLOW__CELERY__FLOWER_BASIC_AUTH", "AIRFLOW_CONN_X"),
    *("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "X-Vault-Token", "webserverSecretKey"),
    *("private_key_id", "slack_webhook_url"),
)
OTHER_NAMES = (
    *("secretName", "password_file", "existingSecret", "bypass", "compass", "tokens", "tokenizer"),
    *("primary_key", "page_token", "TaskInstanceKey", "AIRFLOW__CORE__FERNET_KEY_SECRET"),
    *("sshKeySecret", "executor"),
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_says_that_its_value_is_secret(name: str) -> None:
    assert is_secret(name)
    assert not is_harmless_variable(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_says_that_its_value_is_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("TZ", True),
        ("HA_CHAOS_SEED", True),
        ("AIRFLOW__CORE__EXECUTOR", True),
        ("HA_CHAOS_DSN", False),
        ("HA_CHAOS_DATABASE_URL", False),
        ("AIRFLOW__CORE__FERNET_KEY", False),
        ("AIRFLOW__CORE__FERNET_KEY_CMD", False),
        ("AIRFLOW__SOMEBODY__SETTING", False),
        ("DBT_TARGET", False),
    ],
)
def test_a_variable_is_harmless_only_where_that_is_known(name: str, harmless: bool) -> None:
    assert is_harmless_variable(name) is harmless


@pytest.mark.parametrize("seed", range(4))
def test_a_long_text_is_redacted_as_a_whole_would_be(seed: int) -> None:
    """No cut falls into a secret, wherever the reader's pieces end; nothing else is lost."""
    chance = random.Random(seed)
    made = [canary(kind, str(seed)) for kind in ALL if not kind.startswith("a Secret")]
    lines = []
    for number in range(25_000):
        filler = f"{number} {'x y' * chance.randrange(70)}"
        lines.append(chance.choice((filler, filler, filler, f"{chance.choice(made).text}\nend: x")))
    text = "\n".join(lines)
    assert len(text) > 2_000_000
    kept = io.StringIO()
    source = io.StringIO(text)
    stream(lambda _: source.read(chance.randrange(1, 20 * LONGEST)), kept.write, ["a known value"])
    assert kept.getvalue() == redact(text)
    assert left([kept.getvalue()], made) == []


def test_a_line_without_end_is_not_cut_in_its_secrets() -> None:
    value = canary("conninfo", "line").parts[0]
    line = "y" * (2 * LONGEST) + " " + f"password={value} " * 60_000
    kept = io.StringIO()
    stream(io.StringIO(line).read, kept.write)
    assert kept.getvalue() == redact(line)


REPEATED = (
    *("a", " ", "://", "http://", "x://a:", "@", "password", "password=", "--token ", '"', "'"),
    *("key: |\n", "eyJ", "{", '"extra":{', "name: AB\nvalue: ", "\\", "\\n", "token: [", "login "),
    *("kind: Secret\ndata:\n x", "basic ", "Set-Cookie: ", "-u a:", "mysql ", "é", "password='"),
    *("-----BEGIN PRIVATE KEY-----\n", "a.b-", "'\n'", "E   x\n", "a:*:b:c:"),
)


@pytest.mark.parametrize("piece", REPEATED)
def test_no_line_makes_it_slow(piece: str) -> None:
    """A line of 120 kB takes well under a second (4 on a busy machine), whatever it is made of."""
    text = f"conn_type secret {piece * (120_000 // len(piece))}"
    begun = time.process_time()
    redact_failure(text)
    assert time.process_time() - begun < 4.0
