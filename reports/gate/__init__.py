"""The release gate: from what sessions left behind, and a policy, to safe, not safe, cannot tell.

A violation is proof, and no later run washes it away; an unknown is resolved by a later run of the
same test in the same environment; a skipped test says nothing and counts for nothing.
"""

from reports.gate.checks import decide
from reports.gate.decision import Decision, Row
from reports.gate.policy import Policy, read_policy

__all__ = ["Decision", "Policy", "Row", "decide", "read_policy"]
