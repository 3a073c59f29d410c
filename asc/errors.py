"""The one error that means "your input is wrong": every launch script turns it into a sentence and exit code 2."""


class InputError(ValueError):
    """Wrong input from outside. The message is one sentence: the file or key, what is wrong, what to do."""
