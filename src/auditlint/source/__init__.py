"""Files as they lie on disk: which ones, their bytes, and the comments that speak to the linter."""
