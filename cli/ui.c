/* Output goes to the streams it is given, so that tests can look at it. */
#include "cli/ui.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

/* ---- tables
 * --------------------------------------------------------------------- */

void table_init(struct table *t, const char *types)
{
    *t = (struct table){.types = types, .columns = strlen(types)};
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->cells_len; i++)
        free(t->cells[i]);
    free(t->cells);
    table_init(t, t->types);
}

static void add_cell(struct table *t, char *text)
{
    if (t->cells_len == t->cells_cap) {
        t->cells_cap = t->cells_cap == 0 ? 64 : t->cells_cap * 2;
        t->cells = xrealloc(t->cells, t->cells_cap * sizeof *t->cells);
    }
    t->cells[t->cells_len++] = text;
}

void table_add(struct table *t, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = xstrdup("");
    va_end(arguments);
    add_cell(t, text);
}

void table_add_slice(struct table *t, struct slice text)
{
    if (slice_is_null(text) || text.len == 0)
        add_cell(t, xstrdup("-"));
    else
        add_cell(t, slice_dup(text));
}

/* Characters, not bytes, of UTF-8. */
static int width_of(const char *text)
{
    int n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_cell(const char *text, FILE *to)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, to);
}

void table_print(const struct table *t, FILE *to, int gap)
{
    int *widths = xcalloc(t->columns, sizeof *widths);

    for (size_t i = 0; i < t->cells_len; i++) {
        int w = width_of(t->cells[i]);
        if (w > widths[i % t->columns])
            widths[i % t->columns] = w;
    }
    for (size_t i = 0; i < t->cells_len; i++) {
        size_t column = i % t->columns;
        print_cell(t->cells[i], to);
        if (column + 1 == t->columns)
            fputc('\n', to);
        else
            fprintf(to, "%*s", widths[column] - width_of(t->cells[i]) + gap,
                    "");
    }
    free(widths);
}

static json_t *cell_json(const char *text, char type)
{
    char *end;

    if (strcmp(text, "-") == 0)
        return json_null();
    if (type == 'n') {
        long long number = strtoll(text, &end, 10);
        if (end != text && *end == '\0')
            return json_integer(number);
    }
    return json_slice(slice_str(text));
}

json_t *table_json(const struct table *t)
{
    json_t *rows = json_array();

    for (size_t i = t->columns; i < t->cells_len; i += t->columns) {
        json_t *row = json_object();
        for (size_t k = 0; k < t->columns; k++) {
            char *key = xstrdup(t->cells[k]);
            for (char *p = key; *p != '\0'; p++)
                *p = *p == ' ' || *p == '-' ? '_'
                                            : (char)tolower((unsigned char)*p);
            json_object_set_new(row, key,
                                cell_json(t->cells[i + k], t->types[k]));
            free(key);
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

/* ---- JSON
 * ------------------------------------------------------------------------- */

void json_print(json_t *value, FILE *to)
{
    json_dumpf(value, to, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', to);
    json_decref(value);
}

json_t *json_slice(struct slice text)
{
    if (slice_is_null(text))
        return json_null();
    json_t *value = json_stringn((const char *)text.data, text.len);
    if (value != NULL)
        return value;
    char *plain = slice_dup(text);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)plain[i] >= 0x80 || plain[i] == '\0')
            plain[i] = '?';
    value = json_stringn(plain, text.len);
    free(plain);
    return value;
}

/* ---- errors
 * ------------------------------------------------------------------------ */

int ui_fail(const char *format, ...)
{
    va_list arguments;

    fputs("leat: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

int ui_usage(const char *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "leat %s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: leat %s --help\n", command);
    return EXIT_USAGE;
}

int ui_end(int code)
{
    bool failed = ferror(stdout) != 0;

    errno = 0;
    if (fclose(stdout) == 0 && !failed)
        return code;
    ui_fail("not everything could be printed on standard output%s%s; what was "
            "asked for may be done all the same",
            errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    return code == EXIT_OK ? EXIT_FAILED : code;
}
