"""Edits of one file: expressions, statements, imports."""
