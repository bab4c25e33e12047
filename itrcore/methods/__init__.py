"""Methods: the contract, and a folder per family."""
