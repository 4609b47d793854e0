"""The command line. Every error that users can correct is one line, never a traceback."""

import sys

from napari_n2n.cli.signals import SIGNALS


def main() -> None:
    """Run the command line and end this process; signals are handled until the very end.

    Exit status: 0; 2 for bad input, with one line; 3 if files were left out (--skip-bad); 70 for a
    bug, with two lines; 128 plus the number of a signal that ended the run, such as 130 for Ctrl-C.
    """
    SIGNALS.handle()
    try:
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:  # a signal between the last step and the end
        status = SIGNALS.status
    SIGNALS.end_with(status)
    sys.exit(status)


def _run(words: list[str]) -> int:
    try:  # imported here, so that a signal during the import ends the program without a traceback
        from napari_n2n.cli.terminal import TERMINAL, say
    except BaseException:
        if SIGNALS.raised:
            return SIGNALS.status
        raise
    with TERMINAL.opened():
        status = _run_command(words)
        if SIGNALS.raised:
            say("interrupted")
            return SIGNALS.status
        return status


def _run_command(words: list[str]) -> int:
    from napari_n2n.cli.terminal import READER_GONE, give_up_stdout

    try:
        from napari_n2n.cli.commands import app

        status = app(words or ["--help"], prog_name=app.info.name, standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return int(status)
    except SystemExit:  # typer's answer to a closed pipe
        give_up_stdout()
        return READER_GONE
    except BaseException as error:
        if SIGNALS.raised:  # also if the exception of the signal has caused another error
            return SIGNALS.status
        from napari_n2n.cli.last_resort import end

        return end(error)
