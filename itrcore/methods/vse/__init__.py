"""VSE++, VSE∞ and ESA: one vector per image and caption."""
