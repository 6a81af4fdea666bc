"""Scenarios: known or suspected races, each a YAML file that says in which order who does what.

`scenario` reads a file of `suites/scenarios/` and refuses one that makes no sense: `document` knows
the lines, `steps` what a step can be, and `order` what it needs before it. Its steps say which
powers a lab must have. `perform` does the steps of one permutation on a lab, each seen to
have happened before the next: it pauses, holds, releases, triggers and waits, writes what it did
into the history, and undoes on leaving what must not stay. Whether Airflow kept its promises is
for the history's judge to say.
"""
