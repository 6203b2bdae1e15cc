/* codec-check FILE: puts each line of a file of vectors through the codec,
 * prints those that fail, and closes with "N passed, N failed". */
#include "tests/unit/proto/vectors.h"

#include <errno.h>

int main(int argc, char **argv)
{
    struct vector v = {0};
    unsigned passed = 0;
    unsigned failed = 0;
    char why[VECTOR_WHY];

    if (argc != 2) {
        fprintf(stderr, "usage: codec-check FILE\n");
        return 2;
    }
    FILE *file = fopen(argv[1], "r");
    if (file == NULL) {
        fprintf(stderr, "codec-check: %s: %s\n", argv[1], strerror(errno));
        return 2;
    }
    while (vector_next(file, &v)) {
        if (vector_check(&v, why)) {
            passed++;
            continue;
        }
        failed++;
        printf("line %u: %s version %d: %s\n", v.line,
               v.message != NULL ? v.message : "?", v.version, why);
    }
    fclose(file);
    vector_free(&v);
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
