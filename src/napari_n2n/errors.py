"""The one error that a person can mend: what was given, why it cannot be used, what to do."""


class BadInput(ValueError):
    """Input that cannot be used.

    The message is a single line: what was given (a file, a layer, an option), the cause, the way
    out. The command line prints it and exits with status 2; napari shows it as a notification.
    """
