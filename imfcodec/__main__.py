"""`python -m imfcodec`: the command line without an installed script."""

from imfcodec.cli import main

main()
