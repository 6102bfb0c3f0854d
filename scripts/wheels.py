"""Files of PyPI's wheels, in a cache outside the checkout: downloaded once, checked against pinned hashes."""

import fcntl
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

# What a machine lacks, in contrast to what goes wrong.
UNAVAILABLE = 69
# One wheel for every machine of an architecture, whatever its Python is: no Python is taken from it.
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_25", "manylinux_2_18", "manylinux2014", "manylinux2010")


def cached(key: str, machines: list, hint: str, assemble) -> pathlib.Path:
    """The folder of the cache with this key. `assemble` makes it in a folder that is renamed when it is complete."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(base) / "gpu-serving-autoscaler" / key
    if folder.is_dir():
        return folder
    machine = f"{platform.system()} on {platform.machine()}"
    if machine not in machines:
        fail(f"expected {' or '.join(machines)}, found {machine}{hint}", UNAVAILABLE)
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        fail(f"expected {sys.executable} to have pip, found none: install python3-pip{hint}", UNAVAILABLE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(folder.name + ".new")
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The last holder of the lock may have made it.
        if not folder.is_dir():
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            assemble(work)
            work.rename(folder)
    return folder


def download(requirements: pathlib.Path, folder: pathlib.Path) -> list:
    """Downloads the wheels that a file of requirements names with their hashes, for this architecture."""
    options = ["--python-version", "3.12", "--implementation", "cp", "--only-binary", ":all:", "--no-deps"]
    for tag in MANYLINUX:
        options += ["--platform", f"{tag}_{platform.machine()}"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--require-hashes", "-r", requirements, "-d", folder]
    if subprocess.run([*pip, "--no-cache-dir"], stdout=sys.stderr).returncode:
        fail("pip could not download them; the lines above say why")
    return sorted(folder.iterdir())


def unpack(wheel: pathlib.Path, target) -> None:
    """Copies files of a wheel. `target` says where to, by the name in the wheel, or `None`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = target(name)
            if path is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def say(text: str) -> None:
    print(f"{pathlib.Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)


def fail(text: str, status: int = 1) -> None:
    say(text)
    sys.exit(status)
