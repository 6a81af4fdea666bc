"""What stands in a kind lab's namespace fits together, and passwords are in Secrets alone."""

import base64
import io
import json
import tarfile
from pathlib import Path

from lab.kind import namespace

IMAGES = {"airflow_image": "a:1", "postgres_image": "p:1"}
PASSWORDS = {"password": "hunter2", "superuser_password": "hunter3"}


def test_passwords_are_in_secrets_alone() -> None:
    parts = namespace.manifests("n", **IMAGES, **PASSWORDS, pooler="airflow-pgbouncer")
    others = [part for part in parts if part["kind"] != "Secret"]
    assert "hunter" not in json.dumps(others)
    assert json.dumps(parts).count("hunter3") == 1


def test_what_pods_mount_and_read_is_there() -> None:
    parts = namespace.manifests("n", **IMAGES, **PASSWORDS)
    assert (parts[0]["kind"], parts[0]["metadata"]["name"]) == ("Namespace", "n")
    assert namespace.MANAGED_BY.items() <= parts[0]["metadata"]["labels"].items()
    held = {(part["kind"], part["metadata"]["name"]): part for part in parts}
    code = held["ConfigMap", f"{namespace.PROXY}-code"]["data"]
    assert {"__init__.py", "__main__.py", "link.py"} <= set(code)
    assert held["ConfigMap", namespace.WORKER]["data"] == {namespace.START_DELAY: "0"}
    pod = held["Deployment", namespace.PROXY]["spec"]["template"]["spec"]
    assert ("ConfigMap", pod["volumes"][0]["configMap"]["name"]) in held
    for name in (namespace.POSTGRES, namespace.PROXY):
        assert held["Service", name]["spec"]["selector"] == {"app": name}


def test_the_dags_are_ours_or_those_of_a_users_folder(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "etl.py").write_text("x = 1")
    ours, theirs = (
        next(
            part
            for part in namespace.manifests("n", **IMAGES, **PASSWORDS, own_dags=own)
            if part["metadata"]["name"] == "ha-chaos-dags"
        )
        for own in ("", str(tmp_path))
    )
    assert {"factory.py", "work.py"} <= set(ours["data"])
    packed = base64.b64decode(theirs["binaryData"]["dags.tar.gz"])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["below/etl.py"]
    assert "data" not in theirs


def test_the_proxy_leads_to_the_pooler_where_there_is_one() -> None:
    def upstream(pooler: str) -> str:
        proxy = namespace.manifests("n", **IMAGES, **PASSWORDS, pooler=pooler)[-1]
        command = proxy["spec"]["template"]["spec"]["containers"][0]["command"]
        return str(command[command.index("--upstream") + 1])

    assert upstream("") == "ha-chaos-postgres:5432"
    assert upstream("airflow-pgbouncer") == "airflow-pgbouncer:6543"
