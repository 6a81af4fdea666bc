"""What of a deployment no recorder of ours sees, in words: other executors, pods elsewhere."""

from collections.abc import Callable, Iterator

FOLLOWED = "KubernetesExecutor"

Setting = Callable[[str, str, str], str]
"""Returns a setting by section and key, or the default that is its third argument."""

_YES = frozenset({"true", "t", "1"})
_SECTION = "kubernetes_executor"


def executors(configured: str, *, teams: bool) -> list[tuple[str, str]]:
    """Return the team and the name of each executor of `[core] executor`; no team is empty.

    `A,B;team_a=C` gives team_a an executor of its own; without `[core] multi_team` (`teams`)
    Airflow ignores that part. An executor is a name, a path, or an alias and one of them.
    """
    found = []
    for part in configured.replace(" ", "").split(";"):
        team, _, names = part.rpartition("=")
        if not team or teams:
            found += [(team, each) for each in names.split(",") if each]
    return found


def not_covered(setting: Setting, namespace: str) -> list[str]:
    """Return what a recorder that watches the worker pods of `namespace` does not see."""
    teams = _is_on(setting, "core", "multi_team")
    found = executors(setting("core", "executor", FOLLOWED), teams=teams)
    return [
        *(
            f"what {name} runs{f' for team {team}' if team else ''}: "
            f"only {FOLLOWED}'s workers are followed"
            for team, name in found
            if FOLLOWED not in name
        ),
        *_pods_elsewhere(setting, namespace, {team for team, name in found if FOLLOWED in name}),
    ]


def _pods_elsewhere(setting: Setting, namespace: str, teams: set[str]) -> Iterator[str]:
    for team in sorted(teams):
        whose = f"worker pods of team {team}" if team else "worker pods"
        section = f"{team}={_SECTION}" if team else _SECTION
        default = setting(_SECTION, "namespace", namespace) if team else namespace
        if (other := setting(section, "namespace", default)) != namespace:
            yield f"{whose}: they are in namespace {other}"
    if _is_on(setting, _SECTION, "multi_namespace_mode"):
        listed = setting(_SECTION, "multi_namespace_mode_namespace_list", "").split(",")
        others = sorted({each.strip() for each in listed} - {"", namespace})
        if others:
            yield f"worker pods in {', '.join(others)} (multi_namespace_mode)"
        elif not any(listed):
            yield f"worker pods outside {namespace}: multi_namespace_mode allows every namespace"


def _is_on(setting: Setting, section: str, key: str) -> bool:
    return setting(section, key, "").lower() in _YES
