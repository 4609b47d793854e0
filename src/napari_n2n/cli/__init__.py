"""The command line. Every error that users can correct is one line, never a traceback."""

import sys

import typer

from napari_n2n.cli.commands import app
from napari_n2n.cli.terminal import forward_library_warnings, say
from napari_n2n.errors import BadInput


def main() -> None:
    """Run the command line: exit status 0, 2 for bad input with one line, 130 for Ctrl-C."""
    forward_library_warnings()
    try:
        status = app(sys.argv[1:] or ["--help"], prog_name=app.info.name, standalone_mode=False)
    except typer.Exit as leave:
        status = leave.exit_code
    except BadInput as error:
        say(f"error: {error}")
        status = 2
    except OSError as error:
        where = error.filename or "file system"
        say(f"error: {where}: {error.strerror or error}: choose another folder or free some space")
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        status = 130
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors: a wrong word or option
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context else app.info.name
        cause = error.format_message().rstrip(".").replace("Value error, ", "")  # pydantic's words
        say(f"error: {cause} (see {command} --help)")
        status = 2
    sys.exit(status or 0)
