"""The command `itr`."""
