/* Runs a target over inputs that are there: the corpus in unit tests, an input
 * that was found by hand.
 *
 *   replay_NAME FILE|DIRECTORY...
 *
 * Exit code 2 when there was nothing to run. */
#include "tests/fuzz/kit.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static size_t ran;

/* Into memory of exactly its size, so that a sanitizer sees a read of one byte
 * beyond. */
static uint8_t *read_whole(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    struct buf bytes = BUF_INIT;
    size_t n;

    if (file == NULL) {
        fprintf(stderr, "replay: cannot open %s: %s\n", path, strerror(errno));
        exit(2);
    }
    do {
        buf_reserve(&bytes, 1 << 16);
        n = fread(bytes.data + bytes.len, 1, 1 << 16, file);
        bytes.len += n;
    } while (n != 0);
    fclose(file);
    uint8_t *exact = xmalloc(bytes.len != 0 ? bytes.len : 1);
    if (bytes.len != 0)
        memcpy(exact, bytes.data, bytes.len);
    *len = bytes.len;
    buf_free(&bytes);
    return exact;
}

/* The name goes out first: a crash has no way to tell it. */
static void run_file(const char *path)
{
    size_t len;
    uint8_t *bytes = read_whole(path, &len);

    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    ran++;
}

static void run_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);

    if (n < 0) {
        fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            char *name = xmalloc(strlen(path) + strlen(entries[i]->d_name) + 2);

            sprintf(name, "%s/%s", path, entries[i]->d_name);
            run_file(name);
            free(name);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat about;

        if (stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode))
            run_directory(argv[i]);
        else
            run_file(argv[i]);
    }
    printf("%zu inputs\n", ran);
    return ran != 0 ? 0 : 2;
}
