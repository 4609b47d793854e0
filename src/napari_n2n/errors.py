"""The one error that a person can mend: what was given, why it cannot be used, what to do."""


class BadInput(ValueError):
    """Input that cannot be used.

    The message is a single line: what was given (a file, a layer, an option), the cause, the way
    out. The command line prints it and exits with status 2; napari shows it as a notification.

    Parameters
    ----------
    message
        The line.
    code
        A word for those causes out of which a window offers a way.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
