"""@aws-sdk/client-s3 for Node.js: `javascript.mjs` has the checks; here they are run and read."""

import json
import os
import re
import shutil
import subprocess

import install
from checks import Pass, Skip, Wrong

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "javascript.mjs")


class Script(Pass):
    """Its checks stand in the script, which prints one line of JSON for each."""

    def names(self, at):
        with open(SCRIPT, encoding="utf-8") as file:
            return re.findall(r'^check\("([^"]+)"', file.read(), re.M)

    def run(self, at):
        missing = self.names(at)
        if not shutil.which("node"):
            yield from ((name, Skip("node is not in PATH")) for name in missing)
            return
        given = {"ENDPOINT": at.endpoint, "PREFIX": at.bucket(""), "ATTEMPTS": "6" if at.kill else "1"}
        words = ["node", os.path.join(install.TARGET, "npm", "javascript.mjs")]
        process = subprocess.Popen(
            words, env=at.environment(**given), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = []
        try:
            for line in process.stdout:
                try:
                    told = json.loads(line)
                    missing.remove(told["name"])
                except (ValueError, KeyError, TypeError):
                    said.append(line)
                    continue
                yield told["name"], Wrong(told["error"]) if told["error"] else None
        finally:
            process.kill()
            process.wait()
        for name in missing:
            yield name, Wrong(f"the script ended before it: {''.join(said)[-600:]}")


PASS = Script("javascript", npm=True)
