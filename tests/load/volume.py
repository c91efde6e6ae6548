"""File systems of their own, each an ext4 on a loop device: what reaches the device is counted there and nowhere else.

What must stay true
- What is made is removed: mount, device, file. The file has no name from the moment its device has it open, and the
  device goes by itself with its mount: even a script that is killed leaves neither behind once it is unmounted.
- `written` holds everything that was written to the file system before it was called.
"""

import os
import subprocess
import time

from servers import Trouble

UNMOUNT_S_MAX = 20
SECTOR_BYTES = 512


def must(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except FileNotFoundError:
        raise Trouble(f"{command[0]} is not installed: file systems of their own need it") from None
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)}: {done.stderr.strip()} (loop devices and mounts need root)")
    return done.stdout.strip()


class Volume:
    """A mounted file system, for as long as the `with` lasts."""

    def __init__(self, place, name, size, inodes):
        self.mount = os.path.join(place, name)
        self.image = self.mount + ".img"
        self.size, self.inodes = size, inodes
        self.loop, self.is_marked = None, False

    def __enter__(self):
        os.makedirs(self.mount)
        with open(self.image, "wb") as file:
            file.truncate(self.size)
        try:
            # Nothing is put off to a thread of the kernel that would write while something else is counted.
            must(["mkfs.ext4", "-q", "-F", "-N", str(self.inodes), "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image])
            # Around the page cache of the file below: what the device is told to write, it writes.
            self.loop = must(["losetup", "--show", "--direct-io=on", "-f", self.image])
            must(["mount", "-t", "ext4", "-o", "noatime", self.loop, self.mount])
            # In use, it is only marked: it goes when it is unmounted, and its number may be another's from then on.
            must(["losetup", "-d", self.loop])
            self.is_marked = True
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.unlink(self.image)
        return self

    def __exit__(self, *_):
        deadline = time.monotonic() + UNMOUNT_S_MAX
        while os.path.ismount(self.mount):
            # What is still open may be a file of a process that is just ending.
            lazily = ["-l"] if time.monotonic() > deadline else []
            subprocess.run(["umount", *lazily, self.mount], capture_output=True)
            if os.path.ismount(self.mount):
                time.sleep(0.1)
        if self.loop and not self.is_marked:
            subprocess.run(["losetup", "-d", self.loop], capture_output=True)

    def written(self):
        """Bytes that the device has written since it was made."""
        must(["sync", "-f", self.mount])
        with open(f"/sys/block/{os.path.basename(self.loop)}/stat") as file:
            return int(file.read().split()[6]) * SECTOR_BYTES


def used_bytes(path):
    """Bytes that a file, or all below a folder, takes on its disk."""
    total = os.lstat(path).st_blocks * SECTOR_BYTES
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * SECTOR_BYTES
            except FileNotFoundError:
                pass
    return total
