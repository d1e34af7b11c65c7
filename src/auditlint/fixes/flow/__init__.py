"""Where the value of a read goes, as far as the code tells."""
