"""Object storage that is busy or out of reach for a moment is asked again, with pauses that grow."""

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from reid.errors import PlaceError, StorageDownError, StorageError
from reid.store.addresses import is_remote

T = TypeVar("T")

RETRY_SECONDS = 120.0  # in which a request may fail again and again before it counts as failed
# On S3 Arrow asks every 0.2 s for 6 s before it reports an error. These pauses come on top of that.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0

# What passes by itself, in the words of S3's client and of Google's. Unknown errors are taken to last:
# to ask again for an error that stays would hide it for RETRY_SECONDS.
_PASSING = re.compile(
    r"AWS Error (NETWORK_CONNECTION|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING"
    r"|REQUEST_TIMEOUT|UNKNOWN \(HTTP status (408|429|5\d\d)\))"
    r"|google::cloud::Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|RESOURCE_EXHAUSTED|ABORTED)"
)
# A bucket that is not there, or is somebody else's; keys that are wrong.
WRONG_PLACE = re.compile(
    r"NO_SUCH_BUCKET|NoSuchBucket|Bucket '[^']*' not found|ACCESS_DENIED|AccessDenied"
    r"|INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch"
    r"|INVALID_CLIENT_TOKEN_ID|HTTP status 403|PERMISSION_DENIED"
)
_log = logging.getLogger(__name__)


def guarded(path: str, action: str, run: Callable[[], T]) -> T:
    """Do what may be done twice, until it works; errors name the path, a missing file stays one.

    Raises:
        StorageDownError: it failed for RETRY_SECONDS, each time with an error that may pass.
        PlaceError: the bucket is not there, or closed to us.
        StorageError: any other error, at once.
    """

    def passes(error: Exception) -> bool:
        # What is not there is not waited for, whatever else the message says.
        return not isinstance(error, FileNotFoundError) and bool(_PASSING.search(str(error)))

    try:
        return ask_again(path, action, run, passes)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        if is_remote(path) and WRONG_PLACE.search(str(error)):
            raise PlaceError(
                f"{path}: cannot {action}: {error}. Check the bucket's name, and the keys and the region "
                "in the environment"
            ) from error
        raise StorageError(f"{path}: cannot {action}: {error}") from error


def ask_again(
    path: str, action: str, run: Callable[[], T], passes: Callable[[Exception], bool]
) -> T:
    """Do what may be done twice, until it works or fails for good, which comes as it is.

    Args:
        path: what it is about; only object storage is asked again.
        action: for the message.
        run: does it.
        passes: whether an error may pass by itself.

    Raises:
        StorageDownError: it failed for RETRY_SECONDS, each time with an error that may pass.
    """
    started = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return run()
        except Exception as error:
            if not is_remote(path) or WRONG_PLACE.search(str(error)) or not passes(error):
                raise
            spent = time.monotonic() - started
            if spent + pause > RETRY_SECONDS:
                raise StorageDownError(
                    f"{path}: cannot {action}, for {spent:.0f} s now: {error}. The storage is out of "
                    "reach or overloaded; run the same command again later, it goes on from here"
                ) from error
            # Workers that failed together must not come back together.
            wait = pause * random.uniform(0.5, 1)  # noqa: S311  no secret
            _log.warning("%s: cannot %s: %s; again in %.1f s", path, action, error, wait)
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
