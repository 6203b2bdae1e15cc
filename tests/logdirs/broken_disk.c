/* LD_PRELOAD: a disk that fails.
 *
 * While the file BROKEN_DISK/broken exists, whatever would write to, sync or
 * open a file below the directory BROKEN_DISK fails with EIO. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *disk(void) { return getenv("BROKEN_DISK"); }

static int is_broken(void)
{
    char trigger[4096];

    if (disk() == NULL)
        return 0;
    snprintf(trigger, sizeof trigger, "%s/broken", disk());
    return access(trigger, F_OK) == 0;
}

static int is_on_it(const char *path)
{
    return disk() != NULL && path[0] == '/' &&
           strncmp(path, disk(), strlen(disk())) == 0;
}

static int fails_path(const char *path)
{
    if (!is_on_it(path) || !is_broken())
        return 0;
    errno = EIO;
    return 1;
}

static int fails_fd(int fd)
{
    char link[64], path[4096];

    if (disk() == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return 0;
    path[len] = 0;
    return fails_path(path);
}

/* Built with 64 bit offsets: these are open64, pwrite64, pwritev64. */
#define STRING(name) #name
#define SYMBOL(name) STRING(name)
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, SYMBOL(name)))

int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(args, int) : 0;
    va_end(args);
    return fails_path(path) ? -1 : NEXT(open)(path, flags, mode);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return fails_fd(fd) ? -1 : NEXT(pwrite)(fd, data, len, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    return fails_fd(fd) ? -1 : NEXT(pwritev)(fd, v, n, at);
}

int fdatasync(int fd) { return fails_fd(fd) ? -1 : NEXT(fdatasync)(fd); }

int fsync(int fd) { return fails_fd(fd) ? -1 : NEXT(fsync)(fd); }
