/* Values are kept as given, in order, as pairs of an option and a text. */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

struct given {
    const struct option_spec *spec;
    char *value; /* NULL for flags */
};

struct options {
    struct given *given;
    size_t given_len;
    char **words;
    size_t words_len;
};

static void add_given(struct options *o, const struct option_spec *spec,
                      const char *value)
{
    o->given = xrealloc(o->given, (o->given_len + 1) * sizeof *o->given);
    o->given[o->given_len++] =
        (struct given){spec, value != NULL ? xstrdup(value) : NULL};
}

static void add_word(struct options *o, const char *word)
{
    o->words = xrealloc(o->words, (o->words_len + 1) * sizeof *o->words);
    o->words[o->words_len++] = xstrdup(word);
}

static bool parse_long(const char *text, int64_t *out)
{
    char *end;

    if (*text == '\0')
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool is_number(const struct option_spec *spec)
{
    return spec->kind == OPTION_INT || spec->kind == OPTION_LONG;
}

static int64_t kind_max(const struct option_spec *spec)
{
    return spec->kind == OPTION_INT ? INT32_MAX : INT64_MAX;
}

static bool value_ok(const struct option_spec *spec, const char *value)
{
    bool whole = spec->min == 0 && spec->max == 0;
    int64_t min = whole ? -kind_max(spec) - 1 : spec->min;
    int64_t max = whole ? kind_max(spec) : spec->max;
    int64_t number;

    return !is_number(spec) ||
           (parse_long(value, &number) && number >= min && number <= max);
}

/* What to say of a value that is not ok. */
static char *refused(const struct option_spec *spec, const char *value)
{
    if (spec->min == 0 && spec->max == 0)
        return xasprintf("option --%s needs a number, not \"%s\"", spec->name,
                         value);
    if (spec->max == kind_max(spec))
        return xasprintf("option --%s needs a number, %lld or more, not \"%s\"",
                         spec->name, (long long)spec->min, value);
    return xasprintf("option --%s needs a number from %lld to %lld, not \"%s\"",
                     spec->name, (long long)spec->min, (long long)spec->max,
                     value);
}

/* ---- the tables of getopt_long ----------------------------------------------
 */

static size_t count_specs(const struct option_spec *specs)
{
    size_t n = 0;

    while (specs[n].name != NULL)
        n++;
    return n;
}

static struct option *long_options(const struct option_spec *specs, size_t n)
{
    struct option *table = xcalloc(n + 1, sizeof *table);

    for (size_t i = 0; i < n; i++) {
        table[i].name = specs[i].name;
        table[i].has_arg = specs[i].kind == OPTION_FLAG ? no_argument
                           : specs[i].kind == OPTION_OPTIONAL
                               ? optional_argument
                               : required_argument;
        table[i].val = 256 + (int)i;
    }
    return table;
}

/* ":ab:c::" */
static char *short_options(const struct option_spec *specs, size_t n)
{
    struct buf text = BUF_INIT;

    buf_put_u8(&text, ':');
    for (size_t i = 0; i < n; i++) {
        if (specs[i].letter == 0)
            continue;
        buf_put_u8(&text, (uint8_t)specs[i].letter);
        if (specs[i].kind != OPTION_FLAG)
            buf_put_u8(&text, ':');
        if (specs[i].kind == OPTION_OPTIONAL)
            buf_put_u8(&text, ':');
    }
    buf_put_u8(&text, '\0');
    return (char *)text.data;
}

static const struct option_spec *find_code(const struct option_spec *specs,
                                           size_t n, int code)
{
    if (code >= 256)
        return &specs[code - 256];
    for (size_t i = 0; i < n; i++)
        if (specs[i].letter == code)
            return &specs[i];
    return NULL;
}

/* ---- parsing
 * ------------------------------------------------------------------ */

/* What to say of the argument that getopt_long rejected. */
static char *rejected(const struct option_spec *specs, size_t n, int code,
                      char *const *argv)
{
    const struct option_spec *spec =
        optopt != 0 ? find_code(specs, n, optopt) : NULL;

    if (code == ':' && spec != NULL)
        return xasprintf("option --%s needs a value", spec->name);
    if (spec != NULL)
        return xasprintf("option --%s takes no value", spec->name);
    if (optopt != 0)
        return xasprintf("-%c is not a recognized option", optopt);
    return xasprintf("%s is not a recognized option", argv[optind - 1]);
}

static char *take(struct options *o, const struct option_spec *spec, int argc,
                  char *const *argv)
{
    const char *value = optarg;

    /* getopt_long sees an optional value only behind '='. */
    if (spec->kind == OPTION_OPTIONAL && value == NULL && optind < argc &&
        argv[optind][0] != '-')
        value = argv[optind++];
    if (value != NULL && !value_ok(spec, value))
        return refused(spec, value);
    add_given(o, spec, value);
    return NULL;
}

struct options *options_parse(const struct option_spec *specs, int argc,
                              char *const *argv, char **why)
{
    size_t n = count_specs(specs);
    struct options *o = xcalloc(1, sizeof *o);
    struct option *table = long_options(specs, n);
    char *letters = short_options(specs, n);
    char *sentence = NULL;
    int code;

    optind = 0; /* start afresh */
    opterr = 0;
    while (sentence == NULL &&
           (code = getopt_long(argc, argv, letters, table, NULL)) != -1) {
        if (code == '?' || code == ':')
            sentence = rejected(specs, n, code, argv);
        else
            sentence = take(o, find_code(specs, n, code), argc, argv);
    }
    for (; sentence == NULL && optind < argc; optind++)
        add_word(o, argv[optind]);
    free(letters);
    free(table);
    if (sentence == NULL)
        return o;
    options_free(o);
    *why = sentence;
    return NULL;
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < o->given_len; i++)
        free(o->given[i].value);
    for (size_t i = 0; i < o->words_len; i++)
        free(o->words[i]);
    free(o->given);
    free(o->words);
    free(o);
}

/* ---- what was given
 * ------------------------------------------------------------ */

static const struct given *last(const struct options *o, const char *name)
{
    for (size_t i = o->given_len; i > 0; i--)
        if (strcmp(o->given[i - 1].spec->name, name) == 0)
            return &o->given[i - 1];
    return NULL;
}

bool options_has(const struct options *o, const char *name)
{
    return last(o, name) != NULL;
}

const char *options_text(const struct options *o, const char *name,
                         const char *otherwise)
{
    const struct given *g = last(o, name);

    return g != NULL && g->value != NULL ? g->value : otherwise;
}

int64_t options_long(const struct options *o, const char *name,
                     int64_t otherwise)
{
    const char *text = options_text(o, name, NULL);
    int64_t number = otherwise;

    if (text != NULL)
        parse_long(text, &number);
    return number;
}

int32_t options_int(const struct options *o, const char *name,
                    int32_t otherwise)
{
    const struct given *g = last(o, name);

    ASSERT(g == NULL || g->spec->kind == OPTION_INT);
    return (int32_t)options_long(o, name, otherwise);
}

const char *options_each(const struct options *o, const char *name, size_t i)
{
    for (size_t k = 0; k < o->given_len; k++)
        if (strcmp(o->given[k].spec->name, name) == 0 && i-- == 0)
            return o->given[k].value;
    return NULL;
}

const char *options_word(const struct options *o, size_t i)
{
    return i < o->words_len ? o->words[i] : NULL;
}

size_t options_words(const struct options *o) { return o->words_len; }

/* ---- help
 * ------------------------------------------------------------------------ */

/* `text` in lines of at most `width` columns, the later ones indented. */
static void print_wrapped(FILE *to, const char *text, int indent, int width)
{
    int column = 0;

    while (*text != '\0') {
        int n = (int)strcspn(text, " ");
        if (column != 0 && column + 1 + n > width) {
            fprintf(to, "\n%*s", indent, "");
            column = 0;
        }
        column += fprintf(to, "%s%.*s", column == 0 ? "" : " ", n, text);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

void options_help(const struct option_spec *specs, FILE *to)
{
    enum { LEFT = 30, WIDTH = 78 };

    for (; specs->name != NULL; specs++) {
        char left[128];
        char letter[8] = "";
        if (specs->help == NULL)
            continue;
        if (specs->letter != 0)
            snprintf(letter, sizeof letter, "-%c, ", specs->letter);
        const char *value = specs->argument != NULL ? specs->argument : "VALUE";
        int n = snprintf(left, sizeof left, "  %s--%s%s%s%s", letter,
                         specs->name, specs->kind == OPTION_FLAG ? "" : " ",
                         specs->kind == OPTION_FLAG ? "" : value,
                         specs->kind == OPTION_OPTIONAL ? "?" : "");
        if (n < LEFT)
            fprintf(to, "%-*s", LEFT, left);
        else
            fprintf(to, "%s\n%*s", left, LEFT, "");
        print_wrapped(to, specs->help, LEFT, WIDTH - LEFT);
    }
}
