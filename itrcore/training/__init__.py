"""The training loop and what it needs to survive being killed."""
