"""Prefect flows. They schedule the steps that dvc.yaml defines and define none themselves."""

import os

from itrcore import interrupt  # noqa: F401 (before all that takes long to import)

# For the server that a flow starts where there is none. A user's own settings of these come first.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")  # a server sends usage figures to its makers
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")  # 20 are too few on a busy machine
