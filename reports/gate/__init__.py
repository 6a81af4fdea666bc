"""The release gate: from what sessions left behind, and a policy, to safe, not safe, cannot tell.

`evidence` lays out the trials of the runs and says which later one has answered for which earlier;
`safety`, `completeness`, `oracle_health` and `performance` each make rows of it, `checks` a
decision of these, `outputs` what people and CI servers read.

A violation is proof, and no later run undoes it; an unknown verdict is resolved by a later run of
the same test in the same environment; a skipped test says nothing and counts for nothing.
"""
