"""Lets `python -m` start the command line."""

from .bootstrap import main

if __name__ == "__main__":
    main()
