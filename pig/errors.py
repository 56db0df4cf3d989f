"""The one kind of error that a user can mend."""


class InputError(ValueError):
    """Bad input: one line that names the file, key or value and says what was expected.

    `pig VERB` prints it and exits with code 2, without a traceback.
    """
