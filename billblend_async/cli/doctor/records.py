"""Looks at the journal: what it holds and whose, its server, or the disk that it lies on."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

from ...core.models import Endpoint, State
from ...errors import ConfigurationError, JournalError
from ...gateway.settings import Settings
from ...journal import Owner
from ...journal.inspection import Inspection, inspect_journal
from ...journal.location import DatabasePlace, FilePlace, Place
from ...journal.siblings import has_key, itself
from .findings import Finding, fine, problem, skipped, warning

__all__ = ["examine_journal", "filesystem_of"]

_ROOM: Final = 64 * 1024 * 1024
"""Bytes that must be free: ten thousand payouts take about half of it."""
_REMOTE: Final = frozenset(
    {
        *("9p", "afs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs"),
        *("fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"),
        "virtiofs",
    }
)
"""File systems of other machines, whose locks do not hold what SQLite needs."""
_FORGETFUL: Final = frozenset({"ramfs", "tmpfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


def examine_journal(
    place: Place | None, settings: Settings | None, *, mounts: Path = _MOUNTS
) -> list[Finding]:
    """Look at a journal without changing it.

    Args:
        place: The journal, if one was named.
        settings: Whose it should be, if that is known.
        mounts: Where Linux lists its file systems.
    """
    match place:
        case DatabasePlace():
            return _examine_database(place, settings)
        case FilePlace(path=path):
            return _examine_disk(path, settings, mounts)
        case _:
            return [skipped("journal", "none was named; give one with --journal")]


def _examine_disk(path: Path, settings: Settings | None, mounts: Path) -> list[Finding]:
    try:
        return [_examine_file(path, settings), *_examine_place(itself(path).parent, mounts)]
    except OSError as error:
        remedy = "let the user who runs this use the journal's directory"
        return [problem("journal", f"{path} cannot be looked at ({error.strerror})", remedy)]


def _examine_file(path: Path, settings: Settings | None) -> Finding:
    if not path.name or path.is_dir():
        return problem("journal", f"{path} is a directory", "give the path of a file")
    if not path.exists():
        if has_key(path):
            told = f"{path} is gone, but its key file is there"
            return problem("journal", told, "restore it from its newest copy, with its key file")
        return fine("journal", f"{path} is not there yet; the first run makes it")
    found = inspect_journal(path)
    if isinstance(found, str):
        remedy = "nothing is sent from it until it can be read; keep it as it is meanwhile"
        return problem("journal", f"{path}: {found}", remedy)
    return _compare(str(path), found, settings)


def _examine_database(place: DatabasePlace, settings: Settings | None) -> list[Finding]:
    """Look at a journal in PostgreSQL, its key's file and its server."""
    try:
        place.check()
    except ConfigurationError as error:
        return [problem("journal", str(error), "nothing of it can be looked at until then")]
    key = _examine_key(place)
    try:
        with place.reader() as reader:
            found = reader.inspect()
    except JournalError as error:
        remedy = "nothing is sent from it until it can be read; keep it as it is meanwhile"
        return [key, problem("journal", str(error), remedy)]
    server = f"{found.mode} keeps what it has written (fsync and synchronous_commit are on)"
    findings = [key, _compare(place.title, found, settings), fine("journal server", server)]
    if found.obstacle:
        enough = "as it stands it is enough for reports; payouts cannot be run with it"
        findings.append(warning("journal writes", found.obstacle, enough))
    if found.is_exposed:
        told = "the server is reached without TLS, so others on the way can read and change it all"
        findings.append(warning("journal TLS", told, "add ?sslmode=verify-full to its address"))
    return findings


def _examine_key(place: DatabasePlace) -> Finding:
    path, about = place.key_file(), "journal key"
    if os.name != "nt" and path.stat().st_mode & 0o077:
        return warning(about, f"others than its owner may use {path}", f"chmod 600 {path}")
    return fine(about, f"{path} can be read, by its owner only")


def _compare(name: str, found: Inspection, settings: Settings | None) -> Finding:
    """Say whether a sound journal fits the settings."""
    if settings is None:
        told = f"{name} is sound; {_described(found)}. Whose it should be is not known"
        return skipped("journal", told)
    endpoint = settings.endpoint
    owner, theirs = owner_of(settings.credentials.login, endpoint), found.owner
    if theirs is None:
        return fine("journal", f"{name} is sound, and no program has opened it yet")
    if not found.takes(owner):
        told = f"{name} holds payouts of {theirs.login} at {theirs.base_url} {theirs.endpoint}"
        return problem("journal", told, "use the settings that belong to it, or another journal")
    if owner != theirs:
        told = f"{name} was made with other settings and takes these, since it has sent nothing"
        return fine("journal", f"{told}; {_described(found)}")
    return fine("journal", f"{name} is sound and fits the settings; {_described(found)}")


def owner_of(login: str, endpoint: Endpoint) -> Owner:
    """Name the owner of the payouts that some settings make."""
    return Owner(base_url=endpoint.base_url, login=login, endpoint=endpoint.path)


def _described(found: Inspection) -> str:
    total = sum(found.states.values())
    unfinished = sum(count for state, count in found.states.items() if not state.is_terminal)
    parked = found.states.get(State.ATTENTION, 0)
    told = f"{total:,} payouts, {unfinished:,} unfinished, {parked:,} in attention"
    return f"{told}, declared restored" if found.is_restored else told


def _examine_place(directory: Path, mounts: Path) -> list[Finding]:
    about = "journal directory"
    if not directory.is_dir():
        return [problem(about, f"{directory} is not there", f"make it: mkdir -p {directory}")]
    if not os.access(directory, os.W_OK | os.X_OK):
        told = f"{directory} cannot be written, and SQLite makes files beside the journal"
        return [problem(about, told, "let the user who runs this write there")]
    free = shutil.disk_usage(directory).free
    told = f"{directory} can be written, {free / 1e9:,.1f} GB are free"
    if free < _ROOM:
        place = problem(about, told, "make room: without it nothing is sent")
    else:
        place = fine(about, told)
    return [place, _examine_filesystem(directory, mounts)]


def _examine_filesystem(directory: Path, mounts: Path) -> Finding:
    about, kind = "file system", filesystem_of(directory, mounts)
    if kind is None:
        return skipped(about, "this system does not list its file systems; use a local disk")
    if kind in _REMOTE:
        remedy = "put it on a disk of this machine: over a network SQLite's locks may not hold"
        return problem(about, f"the journal lies on {kind}", remedy)
    if kind in _FORGETFUL:
        remedy = "put it on a disk, unless its payouts are play: a restart forgets who was paid"
        return warning(about, f"the journal lies in memory ({kind})", remedy)
    return fine(about, f"{kind}, which is no network's")


def filesystem_of(directory: Path, mounts: Path = _MOUNTS) -> str | None:
    """Name the file system that a directory lies on; None where the system is no Linux."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    inside, best, kind = directory.resolve(), -1, None
    for line in lines:
        # "36 35 98:0 /root /mount/point options tags - type source options" (proc(5))
        left, dash, right = line.partition(" - ")
        words, names = left.split(" "), right.split(" ")
        if not dash or len(words) < 5:
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), words[4]))
        depth = len(point.parts)
        if inside.is_relative_to(point) and depth >= best:  # a later mount hides an earlier one
            best, kind = depth, names[0]
    return kind


_OCTAL: Final = re.compile(r"\\([0-7]{3})")
