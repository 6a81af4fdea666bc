"""What disturbs a lab: faults, one a file that is named as the fault, and holds.

A fault is data (`SchedulerKill("scheduler-2", seconds=10)`), made where a test is written and
checked there; it names the powers that a lab must have for it. On a lab it becomes an `Injection`
(`chaos.base`), which has it bite, asks whether it strikes anybody, heals it whatever happens, and
records both ends. `chaos.holds` keeps processes at points inside their SQL statements, for
scenarios that put them in order. Nothing here knows who judges.
"""
