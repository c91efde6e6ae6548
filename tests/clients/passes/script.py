"""A pass whose checks stand in a script of their own, which prints one line of JSON for each: its name, and what was
wrong or null."""

import json
import re
import subprocess
import threading

from checks import Pass, Skip, Wrong

SCRIPT_S_MAX = 400


class Script(Pass):
    """`script`: its file. `words`: how it is run, once all is installed. `missing`: why it cannot be, or None."""

    def __init__(self, name, script, words, missing=lambda: None, **needs):
        super().__init__(name, **needs)
        self.script, self.words, self.missing, self.text = script, words, missing, ""

    def names(self, at):
        with open(self.script, encoding="utf-8") as file:
            return [name for name in re.findall(r'^@?check\("([^"]+)"', file.read(), re.M) if self.text in name]

    def only(self, text):
        self.text = text

    def run(self, at):
        left = self.names(at)
        if why := self.missing():
            yield from ((name, Skip(why)) for name in left)
            return
        given = {"ENDPOINT": at.endpoint, "PREFIX": at.bucket(""), "ATTEMPTS": "6" if at.kill else "1", "ONLY": self.text}
        process = subprocess.Popen(
            self.words(), env=at.environment(**given), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = []
        late = threading.Timer(SCRIPT_S_MAX, process.kill)
        late.start()
        try:
            for line in process.stdout:
                try:
                    told = json.loads(line)
                    left.remove(told["name"])
                except (ValueError, KeyError, TypeError):
                    said.append(line)
                    continue
                yield told["name"], Wrong(told["error"]) if told["error"] else None
        finally:
            late.cancel()
            process.kill()
            process.wait()
        for name in left:
            yield name, Wrong(f"the script ended before it: {''.join(said)[-600:]}")
