"""`python -m terminator` is the command `terminator`."""

from terminator.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
