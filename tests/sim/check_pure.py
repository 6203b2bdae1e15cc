#!/usr/bin/env python3
"""Refuses cores that reach the world by themselves.

usage: check_pure.py NM LIBRARY...

Clock, chance, threads, files and the network come in through base/env.h;
whatever else a core asked of the C library for them would be real time and a
real disk inside the simulator.  Prints each symbol with the object that wants
it; exit 1 if there is any.
"""
import re
import subprocess
import sys

FORBIDDEN = re.compile(r"""^(?:
    clock|clock_\w+|gettimeofday|time|ctime\w*|localtime\w*|gmtime\w*|
    nanosleep|usleep|sleep|alarm|setitimer|timer_\w+|timerfd_\w+|
    rand|srand|rand_r|random|srandom|[a-z]rand48|getrandom|getentropy|arc4random\w*|
    pthread_\w+|thrd_\w+|mtx_\w+|fork|vfork|exec\w+|system|popen|
    open|open64|openat|openat64|creat|read|write|pread\w*|pwrite\w*|readv|writev|
    fopen\w*|fread|fwrite_unlocked|fclose|ftruncate\w*|truncate\w*|fsync|fdatasync|
    sync_file_range|rename|renameat\w*|unlink|unlinkat|remove|mkdir|mkdirat|rmdir|
    opendir|readdir\w*|stat\w*|fstat\w*|lstat\w*|flock|fcntl\w*|mmap\w*|munmap|
    socket|connect|accept|accept4|bind|listen|send|sendto|sendmsg|recv|recvfrom|
    recvmsg|sendfile\w*|splice|poll|ppoll|select|epoll_\w+|eventfd|pipe|pipe2|
    getaddrinfo|gethostby\w+|gethostname|getpid|getenv|secure_getenv|
    signal|sigaction|kill|raise|event_\w+|evutil_\w+|bufferevent_\w+|mdb_\w+
    )$""", re.VERBOSE)


def undefined(nm, library):
    """(object, symbol) of everything that the library wants from elsewhere."""
    out = subprocess.run([nm, "--undefined-only", "--print-file-name",
                          library], capture_output=True, text=True,
                         check=True).stdout
    for line in out.splitlines():
        where, _, symbol = line.rpartition(" ")
        yield where.split(":")[1], symbol.split("@")[0]


def main(nm, *libraries):
    bad = [(library, where, symbol) for library in libraries
           for where, symbol in undefined(nm, library)
           if FORBIDDEN.match(symbol)]
    for library, where, symbol in bad:
        print(f"{library}: {where} calls {symbol}")
    if bad:
        print("Cores take time, chance, threads, files and the network from "
              "base/env.h only.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
