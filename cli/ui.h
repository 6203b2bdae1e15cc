/* How the tool talks: tables for people, JSON for programs, sentences for
 * errors, and the exit codes. */
#ifndef CLI_UI_H
#define CLI_UI_H

#include "base/slice.h"

#include <jansson.h>
#include <stdio.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1, /* could not do what was asked */
    EXIT_USAGE = 2,  /* did not understand what was asked */
};

/* ---- tables
 * ------------------------------------------------------------------ Cells are
 * added row by row; columns are as wide as their widest cell. */

struct table {
    const char *types; /* a letter per column: s text, n number */
    size_t columns;
    char **cells; /* owned; the first row is the heading */
    size_t cells_len;
    size_t cells_cap;
};

void table_init(struct table *t, const char *types);
void table_free(struct table *t);
void table_add(struct table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void table_add_slice(struct table *t, struct slice text); /* null: "-" */
/* Separated by `gap` spaces; no spaces behind the last column.  Control
 * characters, which names may have and terminals obey, come out as "?". */
void table_print(const struct table *t, FILE *to, int gap);
/* As an array of objects with the headings as keys, in lower case; "-" is
 * null. */
json_t *table_json(const struct table *t);

/* ---- JSON
 * ----------------------------------------------------------------------- */

/* Prints with a newline and frees. */
void json_print(json_t *value, FILE *to);
/* A string that is made valid UTF-8 first; JSON null for a null slice. */
json_t *json_slice(struct slice text);

/* ---- errors
 * ----------------------------------------------------------------------- */

/* "leat: sentence." on standard error; returns EXIT_FAILED. */
int ui_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with a pointer to --help; returns EXIT_USAGE. */
int ui_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Closes standard output.  Returns the exit code: `code`, or EXIT_FAILED after
 * a sentence if not everything that was printed has arrived. */
int ui_end(int code);

#endif
