"""How much of what can go wrong is seen: real histories, broken in many ways, judged.

    python -m benchmarks.mutants RUN_FOLDER... [--each N] [--promise NAME]

RUN_FOLDERs are what `pytest suites/` wrote (or histories). In every history that is valid each way
of breaking a promise makes up to N mutants, at places drawn by a seed. A mutant is caught where the
promise that it breaks is found broken. Printed is, for each promise and way, how many were made and
caught, and which survived.

`making` has what all ways share; `states`, `runs`, `limits`, `workers` and `progress` have the
ways, by what they change.
"""
