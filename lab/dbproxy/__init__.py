"""A proxy in front of PostgreSQL that delays, loses or cuts what chosen processes send.

`__main__` has the rules, by process name, and the HTTP by which they are set; `link` is a client,
the server, and a pipe each way between them. Standard library only, and nothing of ours from
outside: it also runs in a pod, in Airflow's image.
"""
