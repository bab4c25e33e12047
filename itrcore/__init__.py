"""Image–text retrieval research: data, methods, training, evaluation and reports.

    import itrcore

    run = itrcore.load("runs/f30k/f30k-esa_bigru-1")    # docs/python-api.md

The library imports neither DVC nor Prefect; `stages/` calls it from DVC and `flows/` schedules those stages.
"""

__version__ = "0.1.0"
__all__ = ["load"]

_PLACES = {"load": "itrcore.retriever.load:load"}


def __getattr__(name: str) -> object:  # so that `import itrcore` itself loads nothing; `__init__.pyi` has the types
    if name in _PLACES:
        from pkgutil import resolve_name

        return resolve_name(_PLACES[name])
    raise AttributeError(f"module 'itrcore' has no attribute {name!r}")
