"""Leaderboard, plots and pages from result folders."""
