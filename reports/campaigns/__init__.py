"""What runs sessions: the matrix, and the bisect that finds where a race came or went.

`sessions` starts pytest as a user would and reads the run folders that it leaves. `matrix` asks
each version once. `bisect` has `search` choose what to try next, and `state` try it and remember,
until `step` finds that the runs are proof.
"""
