"""`python -m auditlint`."""

from auditlint.cli import run

if __name__ == "__main__":
    run()
