"""The recordings folder: its layout, its format, and the permissions of its files.

Folders have mode 0700 and files 0600. With a readers' group they have 0750 and 0640 and belong to that group. A file is
replaced by writing it under another name and renaming it, so that no reader finds a part of it.
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

#: The folder's format. Format 1 had neither `live` nor evidence, 2 no heads in ``WEIR_HOME``. Newer ones are refused.
FORMAT = 3
FORMAT_FILE = "format.json"
#: The folder of Parquet files with the columns of this version. Other columns get another folder, made from journals.
INDEX = "3"


#: Bytes that a probe writes at once.
_BLOCK = 1024 * 1024
_ID = re.compile(r"[A-Za-z0-9]{1,64}")


class FormatError(OSError):
    """This version cannot read the folder; the message gives the next action."""


def group_id(name: str) -> int:
    """Return the number of the group *name*. Raises KeyError."""
    return grp.getgrnam(name).gr_gid


@dataclass(frozen=True, slots=True)
class Recordings:
    """The recordings folder at ``root``. ``readers`` is the number of the group that may read it, if any."""

    root: Path
    readers: int | None = None

    @property
    def segments(self) -> Path:
        """Flows and journals, by connection and date."""
        return self.root / "segments"

    @property
    def live(self) -> Path:
        """Links to the journals that the index reads directly, because they are not sealed or not indexed yet."""
        return self.root / "live"

    @property
    def index(self) -> Path:
        """Rows of sealed journals as Parquet files, with the columns of this version."""
        return self.root / "index" / INDEX

    @property
    def database(self) -> Path:
        """The DuckDB database with the views."""
        return self.root / "index.duckdb"

    @property
    def quarantine(self) -> Path:
        """Data that was found in the folder and that the gateway did not write in that form."""
        return self.root / "quarantine"

    def log(self, worker: str) -> Path:
        """Return the folder of the evidence, events and approvals of *worker*."""
        return self.root / "log" / worker

    @property
    def folder_mode(self) -> int:
        """The mode of folders."""
        return 0o700 if self.readers is None else 0o750

    @property
    def file_mode(self) -> int:
        """The mode of files."""
        return 0o600 if self.readers is None else 0o640

    def make(self, folder: Path) -> Path:
        """Make *folder* and its parents below the root, which must exist. Raises OSError, also if one is a link."""
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
        """Give *path* the mode *mode* and the readers' group, if there is one. Raises OSError."""
        if self.readers is not None:
            os.chown(path, -1, self.readers)
            path.chmod(mode)

    def refuse_links(self) -> None:
        """Raise OSError if a folder that this version makes is a link, because files would be written elsewhere.

        The root itself may be a link.
        """
        for folder in (self.segments, self.live, self.index.parent, self.index, self.quarantine, self.root / "log"):
            if folder.is_symlink():
                raise OSError(f"{folder} is a link; put the folder itself in its place")

    def is_below(self, path: Path) -> bool:
        """Return whether the way from the root to *path*, a name below it, contains no link."""
        real = os.path.realpath(self.root)
        return os.path.realpath(path.parent) == os.path.join(real, path.parent.relative_to(self.root))

    def open(self, path: Path, flags: int) -> int:
        """Open *path*, share a new file with the readers, and return the descriptor. Raises OSError."""
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, self.file_mode)  # a link may lead elsewhere
        if self.readers is not None and flags & os.O_CREAT:
            os.fchown(descriptor, -1, self.readers)
            os.fchmod(descriptor, self.file_mode)
        return descriptor

    def replace(self, path: Path, data: bytes) -> None:
        """Replace *path* atomically with *data*, and sync it to disk. Raises OSError."""
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

    def append(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        """Append *data* to *path*. *sync* waits for the disk. Raises OSError; the file may then have a part of it."""
        descriptor = self.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            write_all(descriptor, data)
            if sync:
                datasync(descriptor)
        finally:
            os.close(descriptor)

    def probe(self, folder: Path, size: int) -> None:
        """Write *size* bytes to a file in *folder*, sync it, and remove it. Raises OSError if the disk refuses."""
        path = self.make(folder) / f".probe.{os.getpid()}"
        try:
            with os.fdopen(self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb", buffering=0) as file:
                for start in range(0, size, _BLOCK):  # random bytes: a file system may store zeros without space
                    write_all(file.fileno(), os.urandom(min(_BLOCK, size - start)))
                os.fsync(file.fileno())
            sync_path(folder)
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def settle_modes(self) -> None:
        """Give all files and folders the present modes and group, if the root has others. Raises OSError."""
        status = self.root.stat()
        group = self.readers if self.readers is not None else status.st_gid
        if (stat.S_IMODE(status.st_mode), status.st_gid) == (self.folder_mode, group):
            return
        for folder, _, files in self.root.walk(top_down=False):
            for path in (*(folder / name for name in files), folder):
                mode = self.folder_mode if path is folder else self.file_mode
                with contextlib.suppress(FileNotFoundError):  # another worker renamed it meanwhile
                    if not path.is_symlink():
                        path.chmod(mode & ~0o222 if path.name == self.database.name else mode)
                        if self.readers is not None:
                            os.chown(path, -1, self.readers)

    def identify(self) -> str:
        """Return the folder's own id; make folder and id if they are absent. Raises `FormatError`, OSError."""
        if not self.root.is_dir():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self._mkdir(self.root)
        path = self.root / FORMAT_FILE
        if not path.exists():
            known = _format(secrets.token_hex(8))
            fresh = path.with_name(f".{FORMAT_FILE}.{os.getpid()}")
            self.replace(fresh, known)
            try:
                os.link(fresh, path)  # fails if another process made the file first
            except FileExistsError:
                pass
            finally:
                fresh.unlink(missing_ok=True)
        return read_format(self.root)

    def raise_format(self) -> None:
        """Set the folder's format to this version's. Raises `FormatError`, OSError."""
        self.replace(self.root / FORMAT_FILE, _format(self.identify()))


def _format(folder_id: str) -> bytes:
    return json.dumps({"format": FORMAT, "id": folder_id}).encode()


def read_format(root: Path) -> str:
    """Return the id of the recordings folder *root*; empty if the folder is older than ids. Raises `FormatError`."""
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
        raise FormatError(
            f"{root} has format {version}, written by a newer weir; this weir reads up to format {FORMAT}; upgrade weir"
        )
    return name


datasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def sync_path(path: Path) -> None:
    """Sync a file's content, or the names in a folder, to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path) -> bytes:
    """Return the content of the regular file *path*; empty if it is a link, a pipe or another kind. Raises OSError.

    Other programs can write here, so this neither waits for a pipe nor follows a link.
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
