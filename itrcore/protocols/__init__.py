"""From similarities and the truth to figures. No torch here."""
