/* Judges the history of a client that wrote it down as history_lines.h says:
 *
 *     judge FILE [--mute CHECKER]... [--trace]
 *
 * Prints what it counted and what it found, as `real` does.  Exit status: 0
 * nothing is wrong, 1 a violation, 2 bad use or a line that is none, 3 the
 * history is not whole: its client did not come to rest. */
#include "tests/sim/load/history_lines.h"

#include <stdio.h>
#include <stdlib.h>

static void print_line(void *arg, const char *line)
{
    (void)arg;
    printf("%s\n", line);
}

static bool parse(int argc, char **argv, struct history *h, const char **path)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--trace") == 0)
            history_on_event(h, print_line, NULL);
        else if (strcmp(argv[i], "--mute") == 0 && i + 1 < argc)
            history_mute(h, argv[++i]);
        else if (argv[i][0] != '-' && *path == NULL)
            *path = argv[i];
        else
            return false;
    return *path != NULL;
}

/* False: some line is none; said which. */
static bool take_all(FILE *file, struct history_lines *l)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool good = true;

    for (int64_t at = 1; good && (n = getline(&line, &cap, file)) >= 0; at++) {
        bool whole = n > 0 && line[n - 1] == '\n';
        if (!whole)
            break; /* its writer was stopped in the middle */
        line[n - 1] = '\0';
        good = history_lines_take(l, line);
        if (!good)
            fprintf(stderr, "judge: line %lld: %s\n", (long long)at, line);
    }
    free(line);
    return good;
}

static int report(const struct history_lines *l)
{
    const struct history_counts *c = history_counts(l->history);
    const char *sentence;
    const char *checker = history_verdict(l->history, &sentence);

    printf("sent %llu, acknowledged %llu, unknown %llu, read %llu, assigned "
           "%llu, committed %llu, offsets asked %llu\n",
           (unsigned long long)c->sent, (unsigned long long)c->acked,
           (unsigned long long)c->unknown, (unsigned long long)c->read,
           (unsigned long long)c->assigned, (unsigned long long)c->committed,
           (unsigned long long)c->offsets);
    if (checker != NULL) {
        printf("VIOLATION %s: %s\n", checker, sentence);
        return 1;
    }
    if (!l->ended) {
        printf("STUCK: the history has no end\n");
        return 3;
    }
    printf("nothing is wrong\n");
    return 0;
}

int main(int argc, char **argv)
{
    struct history_promise promise = {.unclean_possible = false};
    struct history_lines lines = {.history = history_new(&promise)};
    const char *path = NULL;
    int status = 2;

    if (!parse(argc, argv, lines.history, &path)) {
        fprintf(stderr, "Usage: judge FILE [--mute CHECKER]... [--trace]\n");
        goto out;
    }
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        goto out;
    }
    if (take_all(file, &lines)) {
        if (lines.ended)
            history_judge(lines.history);
        status = report(&lines);
    }
    fclose(file);
out:
    history_lines_free(&lines);
    history_free(lines.history);
    return status;
}
