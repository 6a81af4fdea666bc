"""`python -m lab`: keep a lab up to look around in."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from common import pipe
from common.errors import UserError
from common.paths import FOLDERS, PROJECT
from common.redaction import redact, stream
from common.secret_names import secrets_of
from lab.base import ProcessEnd
from lab.ending import reap, running, take_down
from lab.environments.pins import newest
from lab.environments.preparation import prepare
from lab.environments.settings import ignored, variables
from lab.kind import tools
from lab.kind.helm import command as values
from lab.kind.helm.values import dag_variables
from lab.life import open_lab, start
from lab.spec import COLD, KUBELET_MODES, LabSpec, read_checkout, read_owner
from lab.state import LabState
from lab.supervised import SupervisedLab

_ABOUT = f"""\
Keep an embedded lab up: real Airflow daemons with several schedulers, real Postgres, the real
KubernetesExecutor over HTTP against a small Kubernetes API, all on this machine.

  python -m lab up --airflow 3.0.6        start one and print how to reach it
  python -m lab status                    list running labs and their processes
  python -m lab logs scheduler-1          print a process's log
  python -m lab down                      take down the labs of this checkout

Several checkouts share the labs' folder: `status` gives each lab's name, `logs --lab NAME` and
`down NAME` mean that one, whoever booted it.

For labs on a cluster (pytest suites/ --lab kind):
  python -m lab tools                     fetch kind and helm
  python -m lab values --airflow 3.0.6    the Helm values of a lab

{FOLDERS}
"""


@dataclass(frozen=True)
class LivingLab:
    """A lab that lives; `session` is the pid of the test session that it ends with, 0 for none.

    The cache is shared by all checkouts of a user: `own` is whether ours booted it.
    """

    directory: Path
    checkout: str
    session: int

    @property
    def name(self) -> str:
        """Return what it is called: its folder's name."""
        return self.directory.name

    @property
    def own(self) -> bool:
        """Return whether this checkout booted it, or nobody knows which did."""
        return self.checkout in ("", str(PROJECT))

    @property
    def whose(self) -> str:
        """Say whose it is, in words; empty for one of ours that stays."""
        if self.session:
            return f"a test session's (process {self.session}), and ends with it"
        return "" if self.own else f"of the checkout {self.checkout}"


def found() -> list[LivingLab]:
    """Return the labs that live, oldest first."""
    labs = []
    for directory in running():
        try:
            owner = read_owner(directory)
            labs.append(LivingLab(directory, read_checkout(directory), owner[0] if owner else 0))
        except FileNotFoundError:
            continue
    return labs


def named(labs: Sequence[LivingLab], name: str) -> LivingLab:
    """Return the lab of that name, or of the only one that begins so; UserError for none."""
    exact = [lab for lab in labs if lab.name == name]
    fits = exact or [lab for lab in labs if name and lab.name.startswith(name)]
    if len(fits) == 1:
        return fits[0]
    known = ", ".join(lab.name for lab in fits or labs)
    fault = f"More than one lab begins with {name!r}" if fits else f"No lab is called {name!r}"
    raise UserError(f"{fault}.", f"There are: {known}." if known else "No lab is up.")


def to_take_down(
    labs: Sequence[LivingLab], names: Sequence[str], *, every: bool
) -> list[LivingLab]:
    """Return the labs that `down` means: those named, all that stay, or this checkout's own.

    Raises UserError for a name that is not there, and for a lab of a test session.
    """
    if not names:
        return [lab for lab in labs if not lab.session and (every or lab.own)]
    chosen = [named(labs, name) for name in names]
    for lab in chosen:
        if lab.session:
            raise UserError(f"{lab.name} is {lab.whose}.", "End that session instead.")
    return chosen


def to_read(labs: Sequence[LivingLab], name: str | None) -> LivingLab:
    """Return the lab whose logs are meant: the one named, or this checkout's newest."""
    if name is not None:
        return named(labs, name)
    own = [lab for lab in labs if lab.own]
    if not own:
        hint = "`python -m lab up` boots one."
        if labs:
            hint = f"--lab names one of another checkout: {', '.join(lab.name for lab in labs)}."
        raise UserError("No lab of this checkout is up.", hint)
    return own[-1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a lab and leave it running")
    up.set_defaults(work=_up)
    up.add_argument(
        "--airflow",
        default=newest(),
        metavar="SPEC",
        help="a version, wheels, a source checkout, or a Python that has Airflow "
        "(default: %(default)s)",
    )
    up.add_argument("--schedulers", type=int, default=2, metavar="N", help="default: %(default)s")
    up.add_argument(
        "--triggerers", type=int, default=0, metavar="N", help="for tasks that defer (none)"
    )
    up.add_argument(
        "--port", type=int, default=0, help="port of the UI and the API (default: any free port)"
    )
    up.add_argument(
        "--kubelet", choices=KUBELET_MODES, default="fork", help="how workers run (%(default)s)"
    )
    up.add_argument("--cold", action="store_true", help=COLD)
    up.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.OPTION=VALUE",
        help="an option of Airflow's, for every process; AIRFLOW__ variables of your shell are "
        "ignored; repeatable",
    )
    commands.add_parser("status", help="list running labs").set_defaults(work=_status)
    down = commands.add_parser("down", help="take labs down")
    down.set_defaults(work=_down)
    down.add_argument(
        "names", nargs="*", metavar="NAME", help="labs to take down (default: all of this checkout)"
    )
    down.add_argument("--all", action="store_true", help="also the labs of other checkouts")
    values.add_parser(commands)
    tools.add_parser(commands)
    logs = commands.add_parser("logs", help="print a process's log")
    logs.set_defaults(work=_logs)
    logs.add_argument("process", nargs="?", help="a process (default: list the processes)")
    logs.add_argument("--lab", metavar="NAME", help="the lab (default: this checkout's newest)")
    return parser


def _up(options: argparse.Namespace) -> int:
    if options.schedulers < 1:
        raise UserError(f"--schedulers {options.schedulers}: a lab needs one at least.")
    if options.triggerers < 0:
        raise UserError(f"--triggerers {options.triggerers}: give 0 or more.")
    settings = variables(options.set)
    if line := ignored(os.environ, settings):
        print(line, file=sys.stderr)
    spec = LabSpec(
        prepare(options.airflow),
        schedulers=options.schedulers,
        triggerers=options.triggerers,
        kubelet=options.kubelet,
        port=options.port,
        cold=options.cold,
        env=dag_variables(os.environ) | settings,
    )
    lab = start(spec, owner=None)
    _describe(lab)
    print(f"\nNext: `python -m lab down {lab.directory.name}` takes it down.")
    return 0


def _describe(lab: SupervisedLab) -> None:
    at = lab.endpoints
    print(f"Airflow {lab.airflow.label}, {lab.kind}: {lab.directory}")
    print(f"  UI and API  http://127.0.0.1:{at['api']}   (everyone is admin)")
    if lab.kind == "embedded":
        print(
            f"  database    PGPASSFILE={lab.directory}/passfile "
            f"psql -h 127.0.0.1 -p {at['postgres']} -U airflow airflow"
        )
    print(f"  Kubernetes  kubectl --kubeconfig {lab.kubeconfig} -n {lab.namespace} get pods")
    for name, process in lab.state.processes.items():
        ended = "" if process.exit_code is None else f"  ENDED with {process.exit_code}"
        print(f"  {name:<14} pid {process.pid:<8} {process.log}{ended}")


def ended(end: ProcessEnd, known: Iterable[str]) -> str:
    """Say that a daemon ended by itself, when, and how."""
    at = datetime.fromtimestamp(end.at).strftime("%H:%M:%S")
    how = f" ({redact(end.last_words, known)})" if end.last_words else ""
    back = "and was started again" if end.again else "and is not back"
    return f"{end.process} ENDED by itself with {end.exit_code} at {at}, {back}{how}"


def secrets(lab: SupervisedLab) -> list[str]:
    """Return what the last line of a log is not to show: what this lab made for itself alone."""
    password = str(conninfo_to_dict(lab.dsn()).get("password") or "")
    return [each for each in (password, str(lab.endpoints.get("secret", ""))) if each]


def _status(_: argparse.Namespace) -> int:
    labs = found()
    if not labs:
        print("No lab is up. `python -m lab up` boots one.")
        return 0
    for each in labs:
        print(each.name + (f"   {each.whose}" if each.whose else ""))
        state = LabState.load(each.directory)
        if state and state.phase == "ready":
            lab = open_lab(each.directory)
            _describe(lab)
            for end in lab.ends():
                print(f"  {ended(end, secrets(lab))}")
            print(f"  health      {'; '.join(lab.problems()) or 'good'}")
        else:
            print(f"  {state.phase if state else 'gone'} {state.doing if state else ''}")
    return 0


def _down(options: argparse.Namespace) -> int:
    labs = found()
    chosen = to_take_down(labs, options.names, every=options.all)
    for lab in chosen:
        take_down(lab.directory)
        print(f"Took down {lab.name}.")
    left = reap()
    others = [lab for lab in labs if lab not in chosen and not lab.session]
    if others and not options.names:
        print(f"Others stay (`down NAME`, or `down --all`): {', '.join(o.name for o in others)}.")
    elif not chosen and not left:
        print("No lab is up but those of test sessions, which end with them.")
    return 0


def _logs(options: argparse.Namespace) -> int:
    state = LabState.load(to_read(found(), options.lab).directory) or LabState()
    if options.process is None:
        print("\n".join(f"{name:<14} {each.log}" for name, each in state.processes.items()))
    elif options.process not in state.processes:
        known = ", ".join(state.processes)
        raise UserError(f"There is no process {options.process!r}.", f"There are: {known}.")
    else:
        with Path(state.processes[options.process].log).open(errors="replace") as log:
            stream(log.read, sys.stdout.write, secrets_of(state.endpoints))
    return 0


@pipe.reporting
def main() -> int:
    """Run one command; 0 done, 2 bad input or a lab that would not come up, 130 interrupted."""
    return pipe.in_labs(_parser().parse_args())


if __name__ == "__main__":
    sys.exit(pipe.run(main))
