"""@aws-sdk/client-s3 for Node.js: `javascript.mjs` has the checks."""

import os
import shutil

import install
from passes.script import Script

PASS = Script(
    "javascript",
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "javascript.mjs"),
    lambda: ["node", os.path.join(install.TARGET, "npm", "javascript.mjs")],
    lambda: None if shutil.which("node") else "node is not in PATH",
    npm=True,
)
