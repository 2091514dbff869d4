"""A version taken from the store: verified, copied and computed with, before it serves anybody.

`python -m handlers.facade.versions.preparation` does it in a process of its own, which can be
ended: of what hangs, a thread cannot.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from anirank import errors
from anirank.errors import BundleError, SignatureError
from bundles.bundle import MANIFEST, Bundle, as_of, copy_bundle
from bundles.files import Stamp
from bundles.manifest import Manifest
from handlers.facade.backends.opening import opener
from handlers.facade.settings import Settings
from handlers.facade.versions.faults import passing

# Of the process that prepares a version, so that those who are answered meanwhile wait less for a
# core. Hashing takes the longest.
NICENESS = 10
ENDED_S = 1.0  # in which a process that is killed is gone, unless the system holds it

# By the name of a file, what changes whenever it does; see `stamp_of`.
Stamps = Mapping[str, Stamp | None]


def prepare(settings: Settings, folder: Path, into: Path | None, rehearse: bool) -> Stamps:
    """Verify the version in `folder`; the stamps of its files, or of their copies.

    into: an empty folder for a copy; None leaves the files where they are. rehearse: compute with
    it once, here. May take for ever. Raises BundleError, SignatureError, and the errors of what
    computes.
    """
    opening = opener(settings)
    if into is None:
        place, bundle = folder, Bundle.open(folder)
    else:
        place = into
        copy_bundle(folder, into, settings.trust, opening.graphs)
        with as_of(folder, into):
            bundle = Bundle.open(into, verify=False)
    check_identity(bundle.manifest, folder, settings)
    check_age(bundle.manifest, folder, settings)
    if rehearse:
        with as_of(folder, place):
            opening.rehearse(bundle)
    return stamps_of(bundle)


def check_identity(manifest: Manifest, folder: Path, settings: Settings) -> None:
    """Raise BundleError unless a manifest is of the version in `folder`."""
    path, said = folder / MANIFEST, (manifest.name, manifest.version)
    if settings.trust and said != (settings.name, folder.name):
        # Else whoever can move folders could have an old one served as the newest.
        raise SignatureError(f"{path}: is signed as {' '.join(said)}")
    if manifest.version != folder.name:
        raise BundleError(
            f"{path}: version is {manifest.version!r}, the folder's name says {folder.name!r}"
        )


def check_age(manifest: Manifest, folder: Path, settings: Settings) -> None:
    """Raise BundleError where a manifest is older than the settings allow."""
    if settings.max_age_days is None:
        return
    path, oldest = folder / MANIFEST, datetime.now(UTC) - timedelta(days=settings.max_age_days)
    try:
        too_old = datetime.fromisoformat(manifest.created) < oldest
    except (ValueError, TypeError) as error:
        said = errors.quoted(manifest.created)
        raise BundleError(
            f"{path}: created is {said}, should be a time with its offset from UTC"
        ) from error
    if too_old:
        raise SignatureError(
            f"{path}: was exported on {manifest.created}, --max-age allows "
            f"{settings.max_age_days:g} days"
        )


def stamps_of(bundle: Bundle) -> Stamps:
    """The stamps of a bundle's files, by their names."""
    return {str(path.relative_to(bundle.folder)): stamp for path, stamp in bundle.stamps.items()}


async def prepare_apart(settings: Settings, folder: Path, into: Path | None) -> Stamps:
    """Prepare and rehearse in a process of its own; see `prepare`.

    Cancelled, it leaves nothing running. Raises the same, and BundleError where the process is
    ended by a signal.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        process_group=0,  # Ctrl-C is this one's, which then ends it
    )
    task = {
        "settings": settings.model_dump_json(),
        "folder": str(folder),
        "into": None if into is None else str(into),
    }
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(task).encode() + b"\n")
        said = await process.stdout.read()
        await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), ENDED_S)
        raise
    try:
        report = json.loads(said)
    except ValueError:
        code = process.returncode or 0
        how = f"by signal {-code}" if code < 0 else f"with {code}"
        raise BundleError(f"{folder}: the process that loaded it to try it ended {how}") from (
            MemoryError() if code == -9 else None  # as Linux ends what takes too much
        )
    if "error" in report:
        error: errors.AnirankError = getattr(errors, report["kind"])(report["error"])
        number = report["passing"]
        raise error from (None if number is None else OSError(number, os.strerror(number)))
    return {name: stamp and tuple(stamp) for name, stamp in report["stamps"].items()}


def main() -> None:
    """Do the task in a line of standard input, and report in a line of standard output."""
    os.setpriority(os.PRIO_PROCESS, 0, min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19))
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what else is printed
    settings = Settings.model_validate_json(task["settings"])
    into = None if task["into"] is None else Path(task["into"])
    report: dict[str, Any]
    try:
        report = {"stamps": prepare(settings, Path(task["folder"]), into, rehearse=True)}
    except Exception as error:
        kind = type(error) if isinstance(error, errors.AnirankError) else BundleError
        said = " ".join(str(error).split())
        if kind is not type(error):
            said = f"{task['folder']}: {type(error).__name__} {said}"
        report = {"kind": kind.__name__, "error": said, "passing": passing(error)}
    print(json.dumps(report), file=reports, flush=True)
    os._exit(0)  # no thread of what computes is waited for


def _end_with_the_parent() -> None:
    """End this process when the parent does, however it does: nobody else writes to it."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
