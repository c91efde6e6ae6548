"""What the clients are, and how they come below target/clients: from the registries, in pinned versions.

What must stay true
- Nothing is installed outside of target/clients.
- Versions stand in requirements*.txt, package-lock.json and nowhere else; Debian's packages are those of the machine's release.
"""

import os
import shutil
import subprocess
import sys

from world import Trouble

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.join(os.environ.get("CARGO_TARGET_DIR") or os.path.join(HERE, "../../target"), "clients")
TARGET = os.path.abspath(TARGET)
VENV = os.path.join(TARGET, "venv")
INSTALL_S_MAX = 600


def run(words, what, cwd=None):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S_MAX)
    if done.returncode != 0:
        raise Trouble(f"{what} cannot be installed: {(done.stderr or done.stdout).strip()[-600:]}")


def into_venv(packages):
    """Goes on in the venv, with these packages in it. The pins are constraints: only what is asked for is installed."""
    python = os.path.join(VENV, "bin", "python")
    if not os.path.exists(os.path.join(VENV, "bin", "pip")):
        run([sys.executable, "-m", "venv", VENV], "a venv")
    pins = os.path.join(HERE, "requirements.txt")
    run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", pins, *sorted(packages)], ", ".join(packages))
    if os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        sys.stdout.flush()
        os.execv(python, [python, "-B", *sys.argv])
    os.environ["PATH"] = os.path.join(VENV, "bin") + os.pathsep + os.environ["PATH"]


def venv(name):
    """The Python of a venv of its own, with all that its requirements pin: for what does not go with the others."""
    place, pins = os.path.join(TARGET, f"venv-{name}"), os.path.join(HERE, f"requirements-{name}.txt")
    python = os.path.join(place, "bin", "python")
    if not os.path.exists(os.path.join(place, "bin", "pip")):
        run([sys.executable, "-m", "venv", place], "a venv")
    run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", pins], name)
    return python


def npm():
    """The JavaScript client, beside a copy of the script that drives it: modules are looked up from there."""
    place = os.path.join(TARGET, "npm")
    os.makedirs(place, exist_ok=True)
    if not shutil.which("npm"):
        raise Trouble("npm is not in PATH")
    for name in ("package.json", "package-lock.json", "passes/javascript.mjs"):
        shutil.copy(os.path.join(HERE, name), place)
    run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], "@aws-sdk/client-s3", place)


def deb(package):
    """Debian's package, unpacked below target/clients: the machine is left as it is."""
    place = os.path.join(TARGET, "deb")
    os.makedirs(place, exist_ok=True)
    program = os.path.join(place, "usr/bin", package)
    if not os.path.exists(program):
        if not shutil.which("apt-get"):
            raise Trouble(f"{package} is taken from Debian, and this machine is none")
        try:
            run(["apt-get", "download", "-q", package], package, place)
        except Trouble:
            run(["apt-get", "update", "-qq"], package)
            run(["apt-get", "download", "-q", package], package, place)
        file = next(name for name in os.listdir(place) if name.startswith(f"{package}_") and name.endswith(".deb"))
        run(["dpkg", "-x", file, "."], package, place)
    os.environ["PATH"] = os.path.join(place, "usr/bin") + os.pathsep + os.environ["PATH"]
