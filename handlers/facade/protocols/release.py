"""Which release answers, as the protocols say it."""

from importlib import metadata


def release() -> str:
    """That of this installation; of a checkout that is not installed nothing is known."""
    try:
        return metadata.version("anirank")
    except metadata.PackageNotFoundError:
        return "unknown"
