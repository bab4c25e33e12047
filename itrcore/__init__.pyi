from itrcore.serving.load import load as load

__version__: str
