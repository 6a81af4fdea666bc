"""Floods: generated DAG runs that load a lab, made through its REST API as users make them.

    profiles.py: named floods --> flood.py: Flood --starts--> Locust: locustfile.py, hooks.py
                                    |                           client.py: a user who is logged in
                                    |                           plan.py: what to ask for, and when
    report.py: FloodReport <--reads-+                           ui.py: the pages people look at
                                    |                           crew.py: several processes
    tally.py: lines <--follows------+                           tally.py: what came of it

`Flood` is all that the suite sees. Locust runs beside it as a process, for importing it patches the
standard library: only the modules on the right do that. What it is asked for goes there as options
of its command line; what comes of it is a line a run in a journal, at once, and a report at the
end. What is asked for is decided by a seed alone, whoever asks and however many processes do it.
"""
