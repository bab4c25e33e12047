"""Indexes of pictures on disk: built, brought up to date, opened, searched, their proposals scored again."""
