"""Lets `python -m sluice_export` stand in for the console command."""

import sys

from sluice_export.cli import main

if __name__ == "__main__":
  sys.exit(main())
