"""The one kind of error that a user can mend."""

LONGEST = 2000  # characters of a message: a file can name itself, or hold, much more


class InputError(ValueError):
    """Bad input: one line that names the file, key or value and says what was expected.

    `pig VERB` prints it and exits with code 2, without a traceback. Names come from files that anyone may have made:
    the message is `plain`, whatever it is put together from.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def plain(text: str) -> str:
    r"""`text` as one line that a terminal shows and does not obey: what is not printable is escaped, as \n is."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:LONGEST])
    return line if len(text) <= LONGEST else f"{line} ..."
