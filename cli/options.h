/* Command lines, declared: a table of options gives parsing (getopt_long does
 * the work), help and errors.  One thread. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/error.h"
#include "base/slice.h"

#include <stdio.h>

enum option_kind {
    OPTION_FLAG,     /* --name */
    OPTION_VALUE,    /* --name VALUE, --name=VALUE; the last one counts */
    OPTION_LIST,     /* likewise, and every one counts */
    OPTION_OPTIONAL, /* --name or --name VALUE */
    OPTION_INT,      /* a value that must be a 32-bit number */
    OPTION_LONG,     /* a 64-bit one */
};

struct option_spec {
    const char *name; /* without the dashes; NULL ends the table */
    enum option_kind kind;
    char letter;          /* "-x" for short; 0: none */
    const char *argument; /* what help calls the value; NULL: "VALUE" */
    const char *help;     /* NULL: accepted, not shown */
    int64_t min, max; /* of numbers, inclusive; both 0: what the kind holds */
};

struct options; /* what was given */

/* NULL with a sentence in *why (caller frees) for an unknown option, a missing
 * or malformed value.  argv[0] is the command's name.  Options and words may be
 * mixed; "--" ends the options. */
struct options *options_parse(const struct option_spec *specs, int argc,
                              char *const *argv, char **why);
void options_free(struct options *o);

bool options_has(const struct options *o, const char *name);
/* The value, or `otherwise` if the option was not given (or had none). */
const char *options_text(const struct options *o, const char *name,
                         const char *otherwise);
/* Of an OPTION_INT only. */
int32_t options_int(const struct options *o, const char *name,
                    int32_t otherwise);
int64_t options_long(const struct options *o, const char *name,
                     int64_t otherwise);
/* The i-th value of a list, or NULL behind the last. */
const char *options_each(const struct options *o, const char *name, size_t i);
/* The i-th word that is no option, or NULL. */
const char *options_word(const struct options *o, size_t i);
size_t options_words(const struct options *o);

/* The options as two columns. */
void options_help(const struct option_spec *specs, FILE *to);

#endif
