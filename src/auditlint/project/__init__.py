"""The files of one project as modules: found, read and parsed when something leads there."""
