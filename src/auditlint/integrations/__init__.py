"""Where other tools call in."""
