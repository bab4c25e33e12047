"""Image–text retrieval research: data, methods, training, evaluation and reports.

The library imports neither DVC nor Prefect; `stages/` calls it from DVC and `flows/` schedules those stages.
"""

__version__ = "0.1.0"
