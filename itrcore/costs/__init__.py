"""What a configuration costs, before it runs: figures from settings and counts alone. No torch here."""
