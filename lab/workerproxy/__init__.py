"""The HTTP proxy between workers and the API server.

    worker --+                    +-- records: who asked what, and what was answered
    worker --+--> one port -->----+-- by rule: holds, delays, loses, drops, answers 5xx
    worker --+                    |
                                  +--> API server

`requests` says what a worker asks, `rules` what is done to it, `proxy` passes it on, `answers`
writes down what came of it, `control` takes rules. A rule lives as long as the connection that it
came by: when its controller dies, it is over.
"""
