"""The command line: all commands in one group, and errors as one line with an exit code.

A command parses options, calls the API and prints; it imports heavy modules when it runs.
"""

import sys
import warnings
from collections.abc import Sequence

import click

from imfcodec import __version__
from imfcodec.cli.batching import batch
from imfcodec.cli.coding import decode, info, verify
from imfcodec.cli.cutting import concat, thumbnail, trim
from imfcodec.cli.encoding import encode
from imfcodec.cli.exits import EXIT_FAILURE, EXIT_INTERRUPTED
from imfcodec.cli.installation import completion, demo, doctor, export, models
from imfcodec.cli.measuring import bench, compare, train
from imfcodec.cli.printing import say
from imfcodec.cli.process import drop_unwritten, prepare_process
from imfcodec.cli.sharing import demux, mux, page, play, serve
from imfcodec.errors import ImfError, LimitError, UsageError

EXIT_CODES = """\b
Exit codes: 0 done, 1 the system failed (disk full, pipe closed), 2 usage,
3 corrupt or unreadable input, 4 a limit exceeded, 5 model missing or different,
6 decoded with concealed losses, or made from a source that is cut off or damaged,
129 hung up, 130 interrupted, 143 terminated."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="imfcodec")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Neural video codec for a person talking on screen at a few kilobits per second.

    Files named "-" are standard input and output: Y4M for frames, .imf for streams.
    """


COMMANDS = (
    *(encode, decode, batch, play, page, serve, info, verify),
    *(trim, concat, thumbnail, mux, demux),
    *(compare, bench, train, models, export, doctor, demo, completion),
)
for command in COMMANDS:
    cli.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors become one line on stderr."""
    try:
        result = cli.main(args=list(arguments), prog_name="imfcodec", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        say(_usage_message(error))
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("imfcodec: interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _explain(error)


def main() -> None:
    """Entry point of the `imfcodec` command: never returns."""
    prepare_process()
    # What libraries tell their developers is no message for a user; python -W shows it.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    code = run(sys.argv[1:])
    sys.exit(drop_unwritten() or code)


def _usage_message(error: click.ClickException) -> str:
    message = error.format_message()
    if "\n" in message:  # the help page, given when there are no arguments
        return message
    context = getattr(error, "ctx", None)
    return f"imfcodec: {message} See '{context.command_path if context else 'imfcodec'} --help'."


def _explain(error: Exception) -> int:
    """Print an error in one line and return its exit code; nobody listens where a pipe was closed."""
    if isinstance(error.__cause__, BrokenPipeError):
        return EXIT_FAILURE
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's own
        error = LimitError("the system gives no more memory; take smaller frames, or raise --max-memory")
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        error = UsageError("this needs torch; install it with: pip install torch einops")
    if isinstance(error, ImfError):
        message = str(error)
    elif isinstance(error, OSError):
        message = f"{error.filename or 'standard output'}: {error.strerror or error}"
    else:
        message = f"internal error, {type(error).__name__}: {error} (imfcodec --debug ... shows where)"
    say(f"imfcodec: {' '.join(message.split())}")
    return error.exit_code if isinstance(error, ImfError) else EXIT_FAILURE
