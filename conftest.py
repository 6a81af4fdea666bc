"""Names the plugins; what they do stands in `harness`."""

pytest_plugins = ["harness.plugin"]
