"""The commands that run no session: build, timeline, gate."""
