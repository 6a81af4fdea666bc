"""Environments that have Airflow: from what a user gives to `--airflow` to one that starts."""

from lab.environments.command import clean_environ
from lab.environments.pinning import pin
from lab.environments.pins import newest, pinned
from lab.environments.preparation import prepare
from lab.environments.request import Request, describe

__all__ = ["Request", "clean_environ", "describe", "newest", "pin", "pinned", "prepare"]
