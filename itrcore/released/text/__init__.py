"""Text encoders in released checkpoints, one module a kind (`TextForm` in `itrcore/released/contract.py`)."""
