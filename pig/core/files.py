"""Files appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pig.core.errors import InputError

PREFIX = ".pig."  # of a file that is not whole yet; short, so that any name that fits gets one


@contextmanager
def atomic(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file beside `path` that replaces it when the block ends without an error.

    The new content is on disk (fsync) before the rename; on an error nothing is left and an
    older `path` stays as it was. Missing parent folders are made. An OSError, as of a full disk, names `path`.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # the rename would put a file in the place of /dev/null
        raise InputError(f"{path}: expected a file to write, found a folder or a device")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX)
        with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException as error:
        if name is not None:
            with suppress(FileNotFoundError):
                os.unlink(name)
        if name is None and isinstance(error, FileExistsError):  # of mkdir
            raise InputError(f"{error.filename}: expected a folder, found a file") from error
        if isinstance(error, OSError) and (error.filename is None or PREFIX in str(error.filename)):
            error.filename = str(path)
        raise


@contextmanager
def atomics(paths: Iterable[str | Path], mode: str = "wb") -> Iterator[list[IO[Any]]]:
    """`atomic` for several files: an error in the block leaves all as they were. InputError if two are the same."""
    files = [*map(Path, paths)]
    if twice := [path for path in files if files.count(path) > 1]:
        raise InputError(f"{twice[0]}: expected different files to write, found it twice")
    with ExitStack() as stack:
        yield [stack.enter_context(atomic(path, mode)) for path in files]


def _umask() -> int:
    """The process's umask: mkstemp makes files that only their owner may read."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
