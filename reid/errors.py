"""The errors that a user can cause and mend, each with the exit code of the job it ends."""


class ReidError(Exception):
    """An error whose message is meant for the user: it carries the value, the limit and the fix."""

    exit_code = 1


class InputError(ReidError, ValueError):
    """The input or the configuration cannot be used as it is."""


class DamagedError(InputError):
    """A file of an earlier run is gone, damaged, or another's: trying again does not help."""


class MissingPackageError(ReidError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class TooManyFailuresError(ReidError):
    """More images failed than `max_failures` allows; everything that worked is still written."""

    exit_code = 2


class StorageError(ReidError):
    """Storage or the cluster could not be reached: worth trying again."""

    exit_code = 3


class InternalError(ReidError):
    """A fault of this program, not of its input: trying again does not help."""

    exit_code = 70


class TrainingDivergedError(ReidError):
    """Loss or gradient became NaN or infinite; the weights from before that step are untouched."""


class PlaceError(StorageError):
    """The place in storage is wrong, or closed to us: trying again does not help."""

    exit_code = 1


class StorageDownError(StorageError):
    """Storage was unreachable after all retries; this says nothing about the file that was wanted."""


def in_plain_words(error: BaseException) -> str:
    """Why a file could not be used, without exceptions' names and numbers: for failures.csv and pages.

    The path is not in it: whoever says the reason names the file.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    said = str(error)
    # A number or a key alone says nothing.
    return said if said[:1].isalpha() else f"{type(error).__name__}: {said}".rstrip(": ")
