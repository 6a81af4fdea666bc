"""What the figures come from: each module is a command, and says in its help what it measures.

rates, sides              what stored runs say, or sessions that are run for it
flood, audit, dbproxy     what watching and disturbing cost an Airflow, on and off in turn
timeline, report          how long it takes to draw and to report, in a process of its own
history                   how long it takes to judge, this checkout and another in turn
mutants                   how many ways of breaking a promise are seen, in real histories
"""

import json
import subprocess
import sys
from pathlib import Path

_MEASURED = """
import json, resource, sys, time
from pathlib import Path
folders = [Path(each) for each in sys.argv[1:]]
{prepare}
begun = time.perf_counter()
{work}
seconds = time.perf_counter() - begun
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps([seconds, memory]))
"""


def measured(prepare: str, work: str, *folders: Path) -> tuple[float, int]:
    """Do `work` in a Python of its own, with `folders`; return its seconds, and its peak of MB."""
    command = [
        sys.executable,
        "-c",
        _MEASURED.format(prepare=prepare, work=work),
        *map(str, folders),
    ]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, memory = json.loads(printed)
    return seconds, memory
