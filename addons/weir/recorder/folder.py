"""The recordings folder: where things lie below it, in which format, and who may read them.

Folders are 0700 and files 0600; with a readers' group, 0750 and 0640 of that group. What is replaced is written under
another name first and renamed into place, so that nobody finds half of it.
"""

import contextlib
import errno
import grp
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

#: Of the folder as a whole. 1 had neither `live` nor evidence, 2 no heads in ``WEIR_HOME``; a newer one is not touched.
FORMAT = 3
FORMAT_FILE = "format.json"
#: The folder of Parquet with these columns. Another set of columns has another, made from the journals.
INDEX = "2"


_ID = re.compile(r"[A-Za-z0-9]{1,64}")


class FormatError(OSError):
    """The folder is of a version that this one does not read; the message says what to do."""


def group_id(name: str) -> int:
    """The number of the group *name*. Raises KeyError."""
    return grp.getgrnam(name).gr_gid


@dataclass(frozen=True, slots=True)
class Recordings:
    """The folder at ``root``; ``readers`` is the group that may read it, if there is one."""

    root: Path
    readers: int | None = None

    @property
    def segments(self) -> Path:
        """Flows and journals, by connection and date."""
        return self.root / "segments"

    @property
    def live(self) -> Path:
        """Links to the journals that the index reads as they are: one that is not sealed, or not indexed yet."""
        return self.root / "live"

    @property
    def index(self) -> Path:
        """Sealed journals as Parquet, with the columns of this version."""
        return self.root / "index" / INDEX

    @property
    def database(self) -> Path:
        """The views."""
        return self.root / "index.duckdb"

    @property
    def quarantine(self) -> Path:
        """What stood in the folder and the gateway did not write, or not as it stood."""
        return self.root / "quarantine"

    def log(self, worker: str) -> Path:
        """Evidence, events and approvals of one worker."""
        return self.root / "log" / worker

    @property
    def folder_mode(self) -> int:
        """Of folders."""
        return 0o700 if self.readers is None else 0o750

    @property
    def file_mode(self) -> int:
        """Of files."""
        return 0o600 if self.readers is None else 0o640

    def make(self, folder: Path) -> Path:
        """*folder*, which is no link, made with all that is above it. The root must be there. Raises OSError."""
        if folder != self.root and folder.is_symlink():
            raise OSError(f"{folder} is a link; put the folder itself in its place")
        if not folder.is_dir():
            if folder != self.root:
                self.make(folder.parent)
                self._mkdir(folder)
            else:
                raise FileNotFoundError(errno.ENOENT, "is gone; restore it", str(self.root))
        return folder

    def _mkdir(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=self.folder_mode)
        except FileExistsError:
            return
        self.share(folder, self.folder_mode)

    def share(self, path: Path, mode: int) -> None:
        """Give *path* to the readers. Raises OSError."""
        if self.readers is not None:
            os.chown(path, -1, self.readers)
            path.chmod(mode)

    def refuse_links(self) -> None:
        """Raise OSError if a folder that this version makes is a link: files would be moved or written elsewhere.

        The root itself may be one.
        """
        for folder in (self.segments, self.live, self.index.parent, self.index, self.quarantine, self.root / "log"):
            if folder.is_symlink():
                raise OSError(f"{folder} is a link; put the folder itself in its place")

    def is_below(self, path: Path) -> bool:
        """Whether *path*, a name below the root, is reached from it without a link."""
        real = os.path.realpath(self.root)
        return os.path.realpath(path.parent) == os.path.join(real, path.parent.relative_to(self.root))

    def open(self, path: Path, flags: int) -> int:
        """A descriptor of *path*, made readable to those who may. Raises OSError."""
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, self.file_mode)  # a link may lead elsewhere
        if self.readers is not None and flags & os.O_CREAT:
            os.fchown(descriptor, -1, self.readers)
            os.fchmod(descriptor, self.file_mode)
        return descriptor

    def replace(self, path: Path, data: bytes) -> None:
        """Have *path* hold *data*, whole, and on disk. Raises OSError."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(self.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            sync_path(path.parent)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def append(self, path: Path, data: bytes, *, sync: bool = True) -> int:
        """Write *data* at the end of *path*, with *sync* to disk. The size before. Raises OSError, nothing written."""
        descriptor = self.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            size = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, data)
                if sync:
                    datasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            return size
        finally:
            os.close(descriptor)

    def settle_modes(self) -> None:
        """Have what was made for other readers, or before Weir, be readable to those of now. Raises OSError."""
        status = self.root.stat()
        group = self.readers if self.readers is not None else status.st_gid
        if (stat.S_IMODE(status.st_mode), status.st_gid) == (self.folder_mode, group):
            return
        for folder, _, files in self.root.walk(top_down=False):
            for path in (*(folder / name for name in files), folder):
                mode = self.folder_mode if path is folder else self.file_mode
                with contextlib.suppress(FileNotFoundError):  # another worker's, renamed meanwhile
                    if not path.is_symlink():
                        path.chmod(mode & ~0o222 if path.name == self.database.name else mode)
                        if self.readers is not None:
                            os.chown(path, -1, self.readers)

    def identify(self) -> str:
        """The folder's own id, made with the folder. Raises `FormatError`, OSError."""
        if not self.root.is_dir():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self._mkdir(self.root)
        path = self.root / FORMAT_FILE
        if not path.exists():
            known = _format(secrets.token_hex(8))
            fresh = path.with_name(f".{FORMAT_FILE}.{os.getpid()}")
            self.replace(fresh, known)
            try:
                os.link(fresh, path)  # of two that start at once one is first
            except FileExistsError:
                pass
            finally:
                fresh.unlink(missing_ok=True)
        return read_format(self.root)

    def raise_format(self) -> None:
        """Have the folder be of this version's format. Raises `FormatError`, OSError."""
        self.replace(self.root / FORMAT_FILE, _format(self.identify()))


def _format(folder_id: str) -> bytes:
    return json.dumps({"format": FORMAT, "id": folder_id}).encode()


def read_format(root: Path) -> str:
    """The id of the recordings folder *root*; empty where it is older than such ids. Raises `FormatError`."""
    path = root / FORMAT_FILE
    try:
        found = json.loads(read_regular(path))
        version, name = int(found["format"]), str(found["id"])
        if not _ID.fullmatch(name):  # it becomes part of paths
            raise ValueError
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):
        raise FormatError(f"{path} is not readable; restore it") from None
    if version > FORMAT:
        raise FormatError(f"{root} is of format {version}, written by a newer weir; this one reads up to {FORMAT}")
    return name


datasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def sync_path(path: Path) -> None:
    """Have the disk hold a file's content, or the names in a folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path) -> bytes:
    """What the regular file *path* holds; nothing where it is a link, a pipe or anything else. Raises OSError.

    Nothing is waited for, and no link is followed: others can write here.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return b""
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write all of *data*. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
