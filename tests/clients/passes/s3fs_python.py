"""s3fs, with aiobotocore underneath: `s3fs_script.py` has the checks, and runs in a venv of its own."""

import os

import install
from passes.script import Script

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "s3fs_script.py")
PASS = Script("s3fs", SCRIPT, lambda: [install.venv("s3fs"), "-B", SCRIPT])
