"""``python -m connector.sandbox``: the sandbox in a process of its own."""

from __future__ import annotations

import argparse
import sys

from connector.sandbox.arguments import DESCRIPTION, add_arguments, run_with

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the sandbox until a signal; return the exit code."""
    parser = argparse.ArgumentParser(prog="connector sandbox", description=DESCRIPTION)
    add_arguments(parser)
    return run_with(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
