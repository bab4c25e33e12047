"""`python -m itrcore.cli`: the command `itr`, where its script is not on the path."""

from itrcore.cli.app import app

app()
