"""Prefect flows. They schedule the steps that dvc.yaml defines and define none themselves."""
