"""`python -m omniformer`: the same as `omniformer`."""

from omniformer.command import main

if __name__ == "__main__":
    main()
