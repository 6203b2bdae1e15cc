/* Formatting writes nothing before everything was checked: the cluster id, the
 * options against the file, and all directories.  What a directory holds is
 * decided in base/meta_properties.h. */
#include "cli/storage_files.h"

#include "base/properties.h"
#include "cli/input.h"
#include "cli/net.h"

#include <stdlib.h>
#include <strings.h>

static enum err fail(char **why, char *sentence)
{
    *why = sentence;
    return ERR_INVALID_CONFIG;
}

/* ---- reading the file ---------------------------------------------------- */

static struct slice trim(struct slice s)
{
    while (s.len != 0 && s.data[s.len - 1] <= ' ')
        s.len--;
    while (s.len != 0 && s.data[0] <= ' ') {
        s.data++;
        s.len--;
    }
    return s;
}

/* The trimmed value of a key; null if it is missing. */
static struct slice get(const struct properties *p, const char *key)
{
    const struct property *item = properties_find(p, slice_str(key));

    return item == NULL ? SLICE_NULL : trim(item->value);
}

/* Takes the next item off a list; false at the end. */
static bool next_item(struct slice *rest, struct slice *item)
{
    if (rest->len == 0)
        return false;
    const uint8_t *comma = memchr(rest->data, ',', rest->len);
    size_t n = comma == NULL ? rest->len : (size_t)(comma - rest->data);

    *item = trim(slice_of(rest->data, n));
    *rest = comma == NULL ? SLICE_NULL : slice_of(comma + 1, rest->len - n - 1);
    return true;
}

static bool has_item(struct slice list, struct slice wanted)
{
    struct slice item;

    while (next_item(&list, &item))
        if (item.len == wanted.len && item.len != 0 &&
            strncasecmp((const char *)item.data, (const char *)wanted.data,
                        item.len) == 0)
            return true;
    return false;
}

static bool parse_number(struct slice text, int32_t *out)
{
    int64_t number = 0;

    if (text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    if (number > INT32_MAX)
        return false;
    *out = (int32_t)number;
    return true;
}

static int compare_dirs(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Without slashes at its end. */
static struct slice plain_dir(struct slice dir)
{
    while (dir.len > 1 && dir.data[dir.len - 1] == '/')
        dir.len--;
    return dir;
}

static void add_dir(struct storage_config *c, struct slice dir)
{
    dir = plain_dir(dir);
    for (size_t i = 0; i < c->dirs_len; i++)
        if (slice_eq_str(dir, c->dirs[i]))
            return;
    c->dirs = xrealloc(c->dirs, (c->dirs_len + 1) * sizeof *c->dirs);
    c->dirs[c->dirs_len++] = slice_dup(dir);
}

static enum err read_dirs(const struct properties *p, const char *path,
                          struct storage_config *c, char **why)
{
    struct slice rest = get(p, "log.dirs");
    struct slice dir;

    if (slice_is_null(rest))
        rest = get(p, "log.dir");
    if (slice_is_null(rest))
        rest = SLICE("/tmp/kafka-logs");
    while (next_item(&rest, &dir))
        if (dir.len != 0)
            add_dir(c, dir);
    if (c->dirs_len == 0)
        return fail(why, xasprintf("%s: log.dirs names no directory", path));
    struct slice metadata = get(p, "metadata.log.dir");
    c->metadata_dir = metadata.len != 0 ? slice_dup(plain_dir(metadata))
                                        : xstrdup(c->dirs[0]);
    add_dir(c, slice_str(c->metadata_dir));
    qsort(c->dirs, c->dirs_len, sizeof *c->dirs, compare_dirs);
    return ERR_NONE;
}

static enum err read_node(const struct properties *p, const char *path,
                          struct storage_config *c, char **why)
{
    struct slice roles = get(p, "process.roles");
    struct slice id = get(p, "node.id");

    if (roles.len == 0)
        return fail(
            why, xasprintf("%s: process.roles is not given; write what the "
                           "node is, such as process.roles=broker,controller",
                           path));
    if (slice_is_null(id))
        id = get(p, "broker.id");
    if (!parse_number(id, &c->node_id))
        return fail(why, xasprintf("%s: node.id must be given, as a number "
                                   "from 0 on",
                                   path));
    c->is_controller = has_item(roles, SLICE("controller"));
    c->has_voters = get(p, "controller.quorum.voters").len != 0;
    return ERR_NONE;
}

/* Finds NAME://host:port of the first controller listener in a list. */
static void read_listener(const struct properties *p, const char *key,
                          struct storage_config *c)
{
    struct slice names = get(p, "controller.listener.names");
    struct slice rest = get(p, key);
    struct slice item;

    while (c->controller_port == 0 && next_item(&rest, &item)) {
        const char *text = slice_dup(item);
        const char *colon = strstr(text, "://");
        const char *port = strrchr(text, ':');
        int32_t number = 0;
        if (colon != NULL && port > colon &&
            has_item(names, slice_of(text, (size_t)(colon - text))) &&
            parse_number(slice_str(port + 1), &number)) {
            c->controller_port = number;
            c->controller_host =
                slice_dup(slice_of(colon + 3, (size_t)(port - colon - 3)));
            c->controller_listener =
                slice_dup(slice_of(text, (size_t)(colon - text)));
        }
        free((void *)(uintptr_t)text);
    }
}

enum err storage_config_read(const char *path, struct storage_config *c,
                             char **why)
{
    struct properties p;
    struct buf text = BUF_INIT;
    enum err error = ERR_INVALID_CONFIG;

    *c = (struct storage_config){0};
    if (file_read(path, PROPERTIES_SIZE_MAX, &text, why))
        error = properties_parse(buf_slice(&text), path, &p, why);
    buf_free(&text);
    if (error != ERR_NONE)
        return error;
    error = read_node(&p, path, c, why);
    if (error == ERR_NONE)
        error = read_dirs(&p, path, c, why);
    read_listener(&p, "advertised.listeners", c);
    read_listener(&p, "listeners", c);
    if (c->controller_host == NULL || c->controller_host[0] == '\0') {
        free(c->controller_host);
        c->controller_host = xstrdup("localhost");
    }
    properties_free(&p);
    if (error != ERR_NONE)
        storage_config_free(c);
    return error;
}

void storage_config_free(struct storage_config *c)
{
    for (size_t i = 0; i < c->dirs_len; i++)
        free(c->dirs[i]);
    free(c->dirs);
    free(c->metadata_dir);
    free(c->controller_host);
    free(c->controller_listener);
    *c = (struct storage_config){0};
}

/* ---- formatting ---------------------------------------------------------- */

struct uuid storage_random_uuid(void)
{
    struct prng p = {.state = net_random()};

    return uuid_random(&p);
}

enum err storage_directory_id(const struct storage_config *c, struct uuid *id,
                              char **why)
{
    struct meta_properties m;
    enum err error = meta_dir_read(NULL, c->metadata_dir, &m, why);

    if (error != ERR_NONE)
        return error;
    *id = m.directory_id;
    if (uuid_is_zero(m.directory_id))
        return fail(why,
                    xasprintf("No directory id found in %s", c->metadata_dir));
    return ERR_NONE;
}

static enum err check_request(const struct storage_config *c,
                              const struct storage_format *f, char **why)
{
    bool dynamic = f->standalone || f->initial_controllers != NULL;

    if (!meta_cluster_id_ok(slice_str(f->cluster_id)))
        return fail(why, xasprintf("\"%s\" cannot be a cluster id; make one "
                                   "with: leat storage random-uuid",
                                   f->cluster_id));
    if (f->standalone && !c->is_controller)
        return fail(why,
                    xstrdup("You can only use --standalone on a controller."));
    if (c->has_voters && dynamic)
        return fail(
            why,
            xstrdup("You cannot specify controller.quorum.voters and format "
                    "the node with --initial-controllers or --standalone. If "
                    "you want to use dynamic quorum, please remove "
                    "controller.quorum.voters and specify "
                    "controller.quorum.bootstrap.servers instead."));
    if (c->is_controller && !c->has_voters && !dynamic &&
        !f->no_initial_controllers)
        return fail(
            why, xstrdup("Because controller.quorum.voters is not set on this "
                         "controller, you must specify one of the following: "
                         "--standalone, --initial-controllers, or "
                         "--no-initial-controllers."));
    if (f->standalone && c->controller_port == 0)
        return fail(why, xstrdup("No controller listeners found: give "
                                 "listeners one that is named in "
                                 "controller.listener.names."));
    return ERR_NONE;
}

/* Sees what every directory holds; *fresh[i] says which are to be formatted. */
static enum err survey(const struct storage_config *c,
                       const struct storage_format *f, bool *fresh,
                       size_t *fresh_len, char **why)
{
    for (size_t i = 0; i < c->dirs_len; i++) {
        struct meta_properties m;
        char *reason = NULL;
        enum err error = meta_dir_read(NULL, c->dirs[i], &m, &reason);

        fresh[i] = error == ERR_ABSENT;
        *fresh_len += fresh[i];
        if (error != ERR_NONE && error != ERR_ABSENT) {
            *why = reason;
            return error;
        }
        free(reason);
        if (error == ERR_ABSENT)
            continue;
        if (!f->ignore_formatted)
            return fail(why, xasprintf("Log directory %s is already formatted. "
                                       "Use --ignore-formatted to ignore this "
                                       "directory and format the others.",
                                       c->dirs[i]));
        if (strcmp(m.cluster_id, f->cluster_id) != 0)
            return fail(why,
                        xasprintf("Invalid cluster.id in: "
                                  "%s/" META_PROPERTIES_NAME ". Expected "
                                  "%s, but read %s",
                                  c->dirs[i], f->cluster_id, m.cluster_id));
        if (m.node_id != c->node_id)
            return fail(why, xasprintf("Invalid node.id in: "
                                       "%s/" META_PROPERTIES_NAME ". Expected "
                                       "%d, but read %d",
                                       c->dirs[i], c->node_id, m.node_id));
    }
    return ERR_NONE;
}

static bool is_metadata_dir(const struct storage_config *c, size_t i)
{
    return strcmp(c->dirs[i], c->metadata_dir) == 0;
}

/* The directory id that --initial-controllers gives this node, if it does:
 * the part behind the last colon of the entry that begins with "ID@". */
static bool listed_directory(const struct storage_config *c, const char *list,
                             struct uuid *id)
{
    struct slice rest = slice_str(list);
    struct slice item;

    while (next_item(&rest, &item)) {
        const uint8_t *at =
            item.len == 0 ? NULL : memchr(item.data, '@', item.len);
        const uint8_t *colon =
            item.len == 0 ? NULL : memrchr(item.data, ':', item.len);
        int32_t node;
        if (at == NULL || colon == NULL || colon < at ||
            !parse_number(slice_of(item.data, (size_t)(at - item.data)),
                          &node) ||
            node != c->node_id)
            continue;
        return uuid_parse(
            slice_of(colon + 1, (size_t)(item.data + item.len - colon - 1)),
            id);
    }
    return false;
}

static enum err write_voters(const struct storage_config *c,
                             const struct storage_format *f,
                             struct uuid directory, char **why)
{
    char id[UUID_TEXT_SIZE];

    if (f->initial_controllers != NULL)
        return meta_dir_write_voters(NULL, c->metadata_dir,
                                     f->initial_controllers, why);
    if (!f->standalone)
        return ERR_NONE;
    char *text = xasprintf("%d@%s:%d:%s", c->node_id, c->controller_host,
                           c->controller_port, uuid_format(directory, id));
    enum err error = meta_dir_write_voters(NULL, c->metadata_dir, text, why);
    free(text);
    return error;
}

static enum err format_dir(const struct storage_config *c,
                           const struct storage_format *f, size_t i, FILE *out,
                           char **why)
{
    struct meta_properties m = {.node_id = c->node_id,
                                .directory_id = storage_random_uuid()};
    bool metadata = is_metadata_dir(c, i);
    bool dynamic = f->standalone || f->initial_controllers != NULL;
    enum err error = ERR_NONE;

    snprintf(m.cluster_id, sizeof m.cluster_id, "%s", f->cluster_id);
    if (metadata && f->initial_controllers != NULL && c->is_controller &&
        !listed_directory(c, f->initial_controllers, &m.directory_id))
        return fail(why, xasprintf("--initial-controllers %s does not name "
                                   "this node as %d@HOST:PORT:DIRECTORY-ID",
                                   f->initial_controllers, c->node_id));
    fprintf(out,
            "Formatting %s directory %s with metadata.version "
            "" STORAGE_METADATA_VERSION ".\n",
            !metadata ? "data"
            : dynamic ? "dynamic metadata voter"
                      : "metadata",
            c->dirs[i]);
    if (metadata)
        error = write_voters(c, f, m.directory_id, why);
    if (error == ERR_NONE)
        error = meta_dir_format(NULL, c->dirs[i], &m, why);
    return error;
}

enum err storage_format_run(const struct storage_config *c,
                            const struct storage_format *f, FILE *out,
                            char **why)
{
    bool *fresh = xcalloc(c->dirs_len, sizeof *fresh);
    size_t fresh_len = 0;
    enum err error = check_request(c, f, why);

    if (error == ERR_NONE)
        error = survey(c, f, fresh, &fresh_len, why);
    if (error == ERR_NONE && fresh_len == 0)
        fputs("All of the log directories are already formatted.\n", out);
    for (size_t i = 0; error == ERR_NONE && i < c->dirs_len; i++)
        if (fresh[i])
            error = format_dir(c, f, i, out, why);
    free(fresh);
    return error;
}
