"""Judges a history: says from its events alone whether Airflow kept its promises, and why.

    history.read --> Judge.feed --> Attempts --> HistoryCounts       (what there was)
                                            '--> Memory              (what led to it)
                                            '--> invariants/*        (what is wrong with it)
                     Judge.conclude --> Judgement --> witness.text   (told to a person)

`events` are the records of a history and `history` its file; where a row is one attempt (Airflow
3.4), `attempts` makes task instances' changes of the rows. Each of `invariants` is a promise in a
file of its own, and has a method for each kind of event that it sees; of events that are `alike` it
is asked but once whether it wants them. What is kept for ever is `Distinct`: hashes. The
`Judgement` is all that anybody needs to know afterwards: verdict, reasons, counts, violations and
their stories; `prose` has words for events. Whoever records the events may feed them live; a file
is judged the same.
Nothing here knows a lab, a database or a cluster.
"""
