"""Decodes what Hydrant compressed with gzip or zip, with Python's own modules.

    archive_decode.py gzip|zip FILE      writes the content to standard output
"""

import gzip
import sys
import zipfile

kind, path = sys.argv[1:]
if kind == "gzip":
    with gzip.open(path) as file:
        sys.stdout.buffer.write(file.read())
else:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        (entry,) = archive.infolist()
        assert entry.compress_type == zipfile.ZIP_DEFLATED
        sys.stdout.buffer.write(archive.read(entry))
