from itrcore.retriever.load import load as load

__version__: str
