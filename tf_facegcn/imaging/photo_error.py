"""PhotoError: a file that cannot be read as a photo."""


class PhotoError(ValueError):
    """A file that cannot be read as a photo; says in one line why.

    The line begins with the file's name and says what was expected, what came
    and what to do.
    """
