"""Output that appears whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from sluice_export.errors import ExportError

# Left free beside what is written, for the file system's own needs.
_SPARE_BYTES = 16 << 20

# A folder with one of these holds a checkpoint.
_CHECKPOINT = ("config.json", "model.gguf")


def check_free(destination, force):
  """Refuses an output path that is taken or that cannot be written.

  An empty folder is free. `force` allows a file or a folder that holds a checkpoint (a config.json
  or a model.gguf) to be replaced; any other folder is never replaced, whatever the caller says.
  """
  destination = Path(destination)
  parent = destination.absolute().parent
  if not parent.is_dir():
    raise ExportError(destination, f"no folder {parent}", remedy=f"create it: mkdir -p {parent}")
  if not os.path.lexists(destination):
    return
  if destination.is_dir():
    if not any(destination.iterdir()):
      return
    if not force:
      raise ExportError(destination, "exists and is not empty",
                        remedy="choose another name, or --force to replace it")
    if destination.is_symlink() or not any((destination / name).is_file() for name in _CHECKPOINT):
      raise ExportError(destination, "is a folder that holds no checkpoint",
                        expected="a checkpoint folder, with config.json",
                        remedy="remove it by hand or choose another name")
  elif not destination.is_file():
    raise ExportError(destination, "is neither a file nor a folder", remedy="choose another name")
  elif not force:
    raise ExportError(destination, "exists", remedy="choose another name, or --force to replace it")


def check_space(destination, nbytes):
  """Refuses to begin when the file system cannot hold `nbytes` more."""
  free = shutil.disk_usage(Path(destination).absolute().parent).free
  if nbytes + _SPARE_BYTES > free:
    raise ExportError(destination, f"needs {nbytes / 1e6:.1f} MB, {free / 1e6:.1f} MB are free",
                      remedy="free some space or write to another disk")


@contextlib.contextmanager
def staged_file(destination, force):
  """Yields a binary file that becomes `destination` when the block ends well.

  The file lies beside the destination until then and is removed if the block fails.
  """
  destination = Path(destination)
  check_free(destination, force)
  if destination.is_dir():
    raise ExportError(destination, "is a folder", expected="a file name")
  handle, name = tempfile.mkstemp(prefix=f".{destination.name}.", suffix=".partial",
                                  dir=destination.absolute().parent)
  try:
    with os.fdopen(handle, "wb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.chmod(name, 0o666 & ~_umask())
    if force:
      os.replace(name, destination)
    else:
      _link_new(name, destination)
  except OSError as error:
    raise _failed(destination, error) from error
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(name)


@contextlib.contextmanager
def staged_folder(destination, force):
  """Yields a folder path that becomes `destination` when the block ends well."""
  destination = Path(destination)
  check_free(destination, force)
  if destination.is_file():
    raise ExportError(destination, "is a file", expected="a folder name")
  parent = destination.absolute().parent
  stage = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".partial", dir=parent))
  try:
    yield stage
    os.chmod(stage, 0o777 & ~_umask())
    if destination.is_dir() and any(destination.iterdir()):
      # The old folder is moved aside first, so that the name never points to a mixture.
      old = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".old", dir=parent))
      os.replace(destination, old)
      try:
        os.replace(stage, destination)
      except OSError:
        os.replace(old, destination)
        raise
      shutil.rmtree(old)
    else:
      os.replace(stage, destination)
  except OSError as error:
    raise _failed(destination, error) from error
  finally:
    shutil.rmtree(stage, ignore_errors=True)


def _failed(destination, error):
  # An error that names a file may come from reading the source inside the block.
  item = error.filename or destination
  return ExportError(item, error.strerror or error)


def _umask():
  mask = os.umask(0)
  os.umask(mask)
  return mask


def _link_new(name, destination):
  """Gives the finished file its name, failing if another process took it meanwhile."""
  try:
    os.link(name, destination)
  except FileExistsError:
    raise ExportError(destination, "appeared while it was being written",
                      remedy="choose another name, or --force to replace it") from None
  except OSError:
    # File systems without hard links: the check at the start has to do.
    os.replace(name, destination)
