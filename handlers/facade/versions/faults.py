"""Faults that pass by themselves, beside those of a version."""

import errno

# No more files, no room, no memory; a file system that is away for a while.
PASSING = frozenset(
    (
        *(errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN),
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN),
    )
)


def passing(error: BaseException | None) -> int | None:
    """The number of the system's fault behind an error, where that passes by itself."""
    while error is not None:
        if isinstance(error, MemoryError):
            return errno.ENOMEM
        if isinstance(error, OSError) and error.errno in PASSING:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
