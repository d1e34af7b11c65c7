"""From edits to files: which go together, rounds, writing."""
