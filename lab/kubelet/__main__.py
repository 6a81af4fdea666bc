"""`python -m lab.kubelet`: run a namespace's pods until SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from common.errors import UserError
from common.pipe import count, reporting
from lab.kubelet import api, kubelet
from lab.kubelet.kubelet import START_DELAY, Kubelet, KubeletNode, Runtime
from lab.kubelet.launcher import WORKER_MODULES, Launcher, environment
from lab.kubelet.simulated import Simulation

_DESCRIPTION = """\
Run the pods of a namespace: bind every unbound pod to this node, run its container on this
machine, and report it as a kubelet does. Works against any Kubernetes API that the kubeconfig
reaches; nothing but that API and a directory for the logs is needed.

modes:
  process    the container's command as a process of its own, `python` being --python; faithful
  fork       `python -m MODULE ..` as a fork of a process that has Airflow imported: a worker
             costs 0.15 s of CPU instead of 3. Other commands run as with `process`
  simulated  no process: only the calls by which a worker reports to Airflow that its task started
             and, after --simulated-seconds, succeeded

Containers get this process' environment and their pod's own variables. Prints "ready" once no
new pod can be missed. SIGTERM or Ctrl-C kills all containers and ends; so does its own death."""
_EPILOG = """\
examples:
  python -m lab.kubelet --kubeconfig lab/kubeconfig --logs lab/pods --python ~/venv/bin/python
  python -m lab.kubelet --mode simulated --logs /tmp/pods --execution-api http://localhost:8080/execution/
"""
_MAX_PODS = 110  # kubelet's own default, maxPods
_SLEEP = "HA_CHAOS_SLEEP"
_EXECUTION_API = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"


@reporting
def main(argv: list[str] | None = None) -> int:
    """Run the kubelet; return the exit code: 0 after SIGTERM, 2 for what the user must mend."""
    options = _parser().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", level=options.log_level)
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    """Serve until a signal, and unwrap what task groups wrap errors in."""
    serving = asyncio.current_task()
    assert serving is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await _serve(options)
    except asyncio.CancelledError:
        return 0
    except ExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.kubelet",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, sleep = parser.add_argument, os.environ.get(_SLEEP) or "0"
    add("--kubeconfig", type=Path, default=_default_kubeconfig(), metavar="FILE", help=_API_FILE)
    add("--context", metavar="NAME", help="the kubeconfig's context (default: the current one)")
    add("--namespace", default="airflow", help="whose pods to run (%(default)s)")
    add("--node", default="lab", metavar="NAME", help="this node's name (%(default)s)")
    add("--mode", choices=["process", "fork", "simulated"], default="process", help="see above")
    add("--python", type=Path, default=Path(sys.executable), help="what `python` stands for")
    add("--logs", type=Path, required=True, metavar="DIR", help="pod NAME writes NAME.log here")
    add("--work", type=Path, default=Path(), metavar="DIR", help="the containers' directory")
    add("--capacity", type=count, default=_MAX_PODS, metavar="N", help=_CAPACITY_HELP)
    add("--start-delay", type=_seconds, default=0.0, metavar="SECONDS", help=_DELAY_HELP)
    add("--preload", type=_names, default=WORKER_MODULES, metavar="M,M", help=_PRELOAD_HELP)
    add("--execution-api", default=os.environ.get(_EXECUTION_API), metavar="URL", help=_API_HELP)
    add("--simulated-seconds", type=_seconds, default=sleep, metavar="SECONDS", help=_SLEEP_HELP)
    add("--simulated-concurrency", type=count, default=10, metavar="N", help=_CALLS_HELP)
    add("--log-level", choices=["DEBUG", "INFO", "WARNING"], default="INFO")
    return parser


_API_FILE = "where the API is (default: $KUBECONFIG or ~/.kube/config)"
_CAPACITY_HELP = "pods at once; more wait Pending, unbound (%(default)s)"
_DELAY_HELP = (
    "how long each pod stays ContainerCreating, like a slow image pull; a number in the file "
    f"`{START_DELAY}` in --work counts instead, from the next pod on"
)
_PRELOAD_HELP = "fork: modules to import ahead, the first one required (an Airflow worker's)"
_API_HELP = f"simulated: the execution API (default: ${_EXECUTION_API})"
_SLEEP_HELP = f"simulated: a task's time (default: ${_SLEEP} or 0, as in the lab's own DAGs)"
_CALLS_HELP = "simulated: execution API calls at once (%(default)s)"


def _default_kubeconfig() -> Path:
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("0 or more seconds")
    return number


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


async def _serve(options: argparse.Namespace) -> None:
    for directory in (options.logs, options.work):
        if not directory.is_dir():
            raise UserError(f"{directory} is not a directory.", "Make it, then start again.")
    configuration = api.load(options.kubeconfig, options.context)
    async with (
        api.PodsAPI(configuration, options.namespace) as pods,
        _runtime(options) as runtime,
        asyncio.TaskGroup() as tasks,
    ):
        node = KubeletNode(
            name=options.node,
            api=pods,
            runtime=runtime,
            logs=options.logs.resolve(),
            capacity=asyncio.Semaphore(options.capacity),
            start_delay=partial(kubelet.start_delay, options.work.resolve(), options.start_delay),
        )
        tasks.create_task(Kubelet(pods, node).run(lambda: print("ready", flush=True)))
        tasks.create_task(runtime.broken())


@contextlib.asynccontextmanager
async def _runtime(options: argparse.Namespace) -> AsyncIterator[Runtime]:
    runtime: Runtime
    if options.mode == "simulated":
        if not options.execution_api:
            raise UserError(
                "Simulated workers need the URL of Airflow's execution API.",
                f"Give --execution-api, or set {_EXECUTION_API}.",
            )
        calls = options.simulated_concurrency
        runtime = Simulation(options.execution_api, options.simulated_seconds, calls)
    else:
        preload = options.preload if options.mode == "fork" else ()
        env = environment(options.mode)
        # Without --python this is the venv's own link: resolving it would leave the venv.
        runtime = Launcher(options.python.absolute(), options.work.resolve(), env, preload)
    try:
        await runtime.open()
        yield runtime
    finally:
        await runtime.close()


if __name__ == "__main__":
    sys.exit(main())
