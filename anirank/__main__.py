"""`python -m anirank`."""

from anirank.cli.app import main

main()
