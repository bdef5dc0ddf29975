"""The errors that betis raises, and nothing else.

::

    BetisError
    ├── InputError        a file or an array that betis was given cannot be used
    ├── ConfigError       an option, or a combination of options, makes no sense
    ├── RunFolderError    the run folder holds, or lacks, something it should not
    ├── FitError          a fit cannot be set up (a row that fails gets a flag instead)
    └── WaitingError      nothing is wrong, but another program must do its part first

Every message is one plain sentence: what was found, what was expected, what to do.
The command line prints it without a traceback and ends with exit status 2; for a `WaitingError`
with 0, since what was asked for has been done.
"""


class BetisError(Exception):
    """Base of every error that betis raises on purpose."""


class InputError(BetisError):
    """A file or an array that cannot be used as it is."""


class ConfigError(BetisError):
    """An option, or a combination of options, that makes no sense."""


class RunFolderError(BetisError):
    """A run folder that belongs to another cube, lacks a product, or cannot be written."""


class FitError(BetisError):
    """A fit that cannot be set up at all."""


class WaitingError(BetisError):
    """A run that goes on when another program, which the user runs, has done its part."""
