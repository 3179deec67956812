"""Output files that are either complete or not there: every output of every command is written through this package.

An output is written beside its target under a temporary name and renamed when it is complete, so that nobody sees half
of it. The name is new, private and of bounded length; it begins the same for the same target, and its file is locked
while it is written: what a killed process left is known by that, and the next run to the same target removes it. Pipes
and devices are written to as they are.
"""

from imfcodec.files.folder import OutputFolder
from imfcodec.files.input import list_folder, open_input
from imfcodec.files.lines import AppendedLines
from imfcodec.files.output import OutputFile, write_beside
from imfcodec.files.series import series_names
from imfcodec.files.targets import check_distinct, check_name, check_target, make_folder, named_errors
from imfcodec.files.unfinished import UnfinishedFile, keep_beside

__all__ = [
    "AppendedLines",
    "OutputFile",
    "OutputFolder",
    "UnfinishedFile",
    "check_distinct",
    "check_name",
    "check_target",
    "keep_beside",
    "list_folder",
    "make_folder",
    "named_errors",
    "open_input",
    "series_names",
    "write_beside",
]
