"""Where values are finalized."""
