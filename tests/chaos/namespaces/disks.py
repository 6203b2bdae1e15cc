"""Disks of nodes: of bounded size, so that they can be full, and on a loop
device where they shall be slow.

The kernel slows a device by itself (blkio.throttle of the first version of
control groups): only so many writes a second, an fsync waits for all of them.
"""

import contextlib
import os

from network import shell

THROTTLE = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device"
SIZE_MB = 1024


def can_be_slow():
    return os.access(THROTTLE, os.W_OK) and \
        os.path.exists("/dev/loop-control")


class Disk:
    def __init__(self, path, guard, slow):
        """`guard(KIND, WHAT)` is told what has to go in the end."""
        self.path = path
        self.ballast = os.path.join(path, "ballast")
        self.device = None
        os.mkdir(path)
        guard("mount", path)
        if not slow:
            shell("mount", "-t", "tmpfs", "-o", "size=%dm" % SIZE_MB, "tmpfs",
                  path)
            return
        image = path + ".img"
        with open(image, "wb") as file:
            file.truncate(SIZE_MB << 20)
        shell("mkfs.ext4", "-q", "-F", "-m", "0", image)
        shell("mount", "-o", "loop", image, path)
        number = os.stat(path).st_dev
        self.device = "%d:%d" % (os.major(number), os.minor(number))
        guard("throttle", self.device)

    def slow(self, writes):
        """So many a second; 0: as many as it can."""
        with open(THROTTLE, "w") as file:
            file.write("%s %d" % (self.device, writes))

    def fill(self):
        """Takes what is left."""
        with open(self.ballast, "ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                free = os.statvfs(self.path)
                os.posix_fallocate(file.fileno(), file.tell(),
                                   free.f_bavail * free.f_frsize)
                file.seek(0, os.SEEK_END)
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.tell() < SIZE_MB << 20 and \
                            file.write(bytes(size)):
                        pass

    def remove(self):
        shell("umount", self.path)
        os.rmdir(self.path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path + ".img")

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.ballast)
