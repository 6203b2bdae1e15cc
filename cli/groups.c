/* leat groups. */
#include "cli/admin_groups.h"
#include "cli/commands.h"
#include "cli/net.h"
#include "cli/session.h"

#include <stdlib.h>

static const struct option_spec option_specs[] = {
    {"all-groups", OPTION_FLAG, 0, NULL, "every group instead of named ones"},
    {"members", OPTION_FLAG, 'm', NULL, "describe: members, not partitions"},
    {"state", OPTION_VALUE, 0, "LIST", "list: only these, as Stable,Empty"},
    {"topic", OPTION_LIST, 't', "TOPIC[:0,1]",
     "reset-offsets: these topics or partitions (else all it has committed)"},
    {"to-earliest", OPTION_FLAG, 0, NULL, "to the oldest records"},
    {"to-latest", OPTION_FLAG, 0, NULL, "past the newest records"},
    {"to-current", OPTION_FLAG, 0, NULL,
     "to where it is; to the end where it has committed nothing"},
    {"to-offset", OPTION_LONG, 0, "N", "to this offset"},
    {"shift-by", OPTION_LONG, 0, "N", "forward by N, or back by -N"},
    {"to-datetime", OPTION_VALUE, 0, "TIME",
     "to the first record since, as 2026-11-21T09:30:00.000Z"},
    {"by-duration", OPTION_VALUE, 0, "DURATION",
     "to the first record since so long ago, as PT2H30M"},
    {"execute", OPTION_FLAG, 'x', NULL,
     "do it (without, reset-offsets only shows)"},
    SESSION_OPTIONS,
    {0}};

static void help(void)
{
    puts("leat groups list|describe|delete|reset-offsets [GROUP...] "
         "[OPTIONS]\n\n"
         "  leat groups list\n"
         "  leat groups describe billing\n"
         "  leat groups describe billing --members\n"
         "  leat groups reset-offsets billing -t orders --to-earliest\n"
         "  leat groups reset-offsets billing --by-duration PT1H --execute\n"
         "  leat groups delete billing\n\n"
         "A group's offsets can be moved, and a group deleted, while it has no "
         "members.");
}

/* ---- which groups
 * ----------------------------------------------------------------------------
 */

/* The groups that are named, or all with --all-groups. */
static bool find(struct session *s, struct slice **groups, size_t *len,
                 int *code)
{
    struct group_listing *all = NULL;
    int32_t all_len = 0;

    *len = options_words(s->options) - 1;
    *groups = arena_array(&s->arena, *len + 1, sizeof **groups);
    for (size_t i = 0; i < *len; i++)
        (*groups)[i] = slice_str(options_word(s->options, i + 1));
    if (*len != 0)
        return true;
    if (!options_has(s->options, "all-groups")) {
        *code = ui_usage("groups", "name a group, or give --all-groups");
        return false;
    }
    if (admin_groups_list(s->client, NULL, &s->arena, &all, &all_len) !=
        ERR_NONE) {
        *code = ui_fail("cannot list groups: %s", client_why(s->client));
        return false;
    }
    *groups = arena_array(&s->arena, (size_t)all_len + 1, sizeof **groups);
    for (int32_t i = 0; i < all_len; i++)
        (*groups)[(*len)++] = all[i].group;
    return true;
}

static void show(struct session *s, struct table *t)
{
    if (s->json)
        json_print(table_json(t), stdout);
    else
        table_print(t, stdout, 2);
    table_free(t);
}

/* ---- list, describe
 * ---------------------------------------------------------------------------
 */

static int list(struct session *s)
{
    struct group_listing *groups = NULL;
    struct table t;
    int32_t len;

    if (admin_groups_list(s->client, options_text(s->options, "state", NULL),
                          &s->arena, &groups, &len) != ERR_NONE)
        return ui_fail("cannot list groups: %s", client_why(s->client));
    table_init(&t, "sss");
    table_add(&t, "GROUP");
    table_add(&t, "STATE");
    table_add(&t, "TYPE");
    for (int32_t i = 0; i < len; i++) {
        table_add_slice(&t, groups[i].group);
        table_add_slice(&t, groups[i].state);
        table_add_slice(&t, groups[i].type);
    }
    show(s, &t);
    return EXIT_OK;
}

static void add_number(struct table *t, int64_t number)
{
    if (number < 0)
        table_add(t, "-");
    else
        table_add(t, "%lld", (long long)number);
}

static void add_rows(struct table *t, const struct group_view *view,
                     const struct group_row *rows, int32_t len)
{
    for (int32_t i = 0; i < len; i++) {
        const struct group_row *r = &rows[i];
        table_add_slice(t, view->group);
        table_add_slice(t, view->state);
        table_add_slice(t, r->topic);
        table_add(t, "%d", r->partition);
        add_number(t, r->committed);
        add_number(t, r->end);
        add_number(t, r->committed < 0 || r->end < r->committed
                          ? -1
                          : r->end - r->committed);
        table_add_slice(t, r->member != NULL ? r->member->id : SLICE_NULL);
        table_add_slice(t, r->member != NULL ? r->member->host : SLICE_NULL);
    }
}

static void add_members(struct table *t, const struct group_view *view,
                        struct arena *a)
{
    for (int32_t i = 0; i < view->members_len; i++) {
        const struct group_member *m = &view->members[i];
        struct buf b = BUF_INIT;
        for (int32_t k = 0; k < m->partitions_len; k++)
            buf_printf(&b, "%s%.*s:%d", k == 0 ? "" : ",",
                       SLICE_FMT(m->partitions[k].topic),
                       m->partitions[k].partition);
        table_add_slice(t, view->group);
        table_add_slice(t, m->id);
        table_add_slice(t, m->client_id);
        table_add_slice(t, m->host);
        table_add_slice(t, slice_str(arena_strdup(a, buf_slice(&b))));
        buf_free(&b);
    }
}

static enum err describe_one(struct session *s, struct slice group,
                             bool members, struct table *t)
{
    struct group_row *rows = NULL;
    struct group_view view;
    int32_t len = 0;
    enum err error = admin_group_describe(s->client, group, &s->arena, &view);

    if (error == ERR_NONE && slice_eq_str(view.state, "Dead"))
        return client_fail(s->client, ERR_GROUP_ID_NOT_FOUND,
                           "there is no group %.*s", SLICE_FMT(group));
    if (error == ERR_NONE && members)
        add_members(t, &view, &s->arena);
    if (error == ERR_NONE && !members)
        error = admin_group_rows(s->client, &view, &s->arena, &rows, &len);
    if (error == ERR_NONE && !members)
        add_rows(t, &view, rows, len);
    return error;
}

static int describe(struct session *s)
{
    static const char *const headings[] = {"GROUP",     "STATE",     "TOPIC",
                                           "PARTITION", "COMMITTED", "LOG END",
                                           "LAG",       "MEMBER",    "HOST"};
    static const char *const member_headings[] = {"GROUP", "MEMBER", "CLIENT",
                                                  "HOST", "PARTITIONS"};
    bool members = options_has(s->options, "members");
    struct slice *groups;
    struct table t;
    size_t len;
    int code = EXIT_OK;

    if (!find(s, &groups, &len, &code))
        return code;
    table_init(&t, members ? "sssss" : "sssnnnnss");
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, "%s", members ? member_headings[i] : headings[i]);
    for (size_t i = 0; i < len; i++)
        if (describe_one(s, groups[i], members, &t) != ERR_NONE)
            code = ui_fail("cannot describe group %.*s: %s",
                           SLICE_FMT(groups[i]), client_why(s->client));
    show(s, &t);
    return code;
}

/* ---- delete
 * -------------------------------------------------------------------------------------
 */

static int delete (struct session *s)
{
    struct slice *groups;
    size_t len;
    int code = EXIT_OK;

    if (!find(s, &groups, &len, &code))
        return code;
    for (size_t i = 0; i < len; i++) {
        if (admin_group_delete(s->client, groups[i], &s->arena) != ERR_NONE)
            code = ui_fail("cannot delete group %.*s: %s", SLICE_FMT(groups[i]),
                           client_why(s->client));
        else if (!s->json)
            printf("Deleted group %.*s.\n", SLICE_FMT(groups[i]));
    }
    return code;
}

/* ---- reset-offsets
 * --------------------------------------------------------------------------------
 */

/* The one mode that is asked for; RESET_NONE after a complaint. */
static enum reset_mode read_mode(const struct options *o, int64_t *number)
{
    static const struct {
        const char *option;
        enum reset_mode mode;
    } modes[] = {
        {"to-earliest", RESET_TO_EARLIEST}, {"to-latest", RESET_TO_LATEST},
        {"to-current", RESET_TO_CURRENT},   {"to-offset", RESET_TO_OFFSET},
        {"shift-by", RESET_SHIFT_BY},       {"to-datetime", RESET_TO_DATETIME},
        {"by-duration", RESET_TO_DATETIME}};
    enum reset_mode mode = RESET_NONE;
    int count = 0;

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (options_has(o, modes[i].option)) {
            mode = modes[i].mode;
            *number = options_long(o, modes[i].option, 0);
            count++;
        }
    if (count != 1) {
        ui_usage("groups", "say where to: one of --to-earliest, --to-latest, "
                           "--to-current, --to-offset, --shift-by, "
                           "--to-datetime, --by-duration");
        return RESET_NONE;
    }
    const char *time = options_text(o, "to-datetime", NULL);
    const char *duration = options_text(o, "by-duration", NULL);
    if (time != NULL && !admin_datetime_parse(time, number)) {
        ui_usage("groups",
                 "\"%s\" is not a time such as "
                 "2026-11-21T09:30:00.000Z",
                 time);
        return RESET_NONE;
    }
    if (duration != NULL) {
        if (!admin_duration_parse(duration, number)) {
            ui_usage("groups", "\"%s\" is not a duration such as PT2H30M",
                     duration);
            return RESET_NONE;
        }
        *number = net_wall_ms() - *number;
    }
    return mode;
}

static enum err reset_one(struct session *s, struct slice group,
                          enum reset_mode mode, int64_t number,
                          const char *const *topics, size_t topics_len,
                          struct table *t)
{
    struct partition_offset *items = NULL;
    struct group_view view;
    int32_t len = 0;
    enum err error = admin_group_describe(s->client, group, &s->arena, &view);

    if (error == ERR_NONE && !slice_eq_str(view.state, "Empty") &&
        !slice_eq_str(view.state, "Dead"))
        return client_fail(s->client, ERR_NON_EMPTY_GROUP,
                           "it has members (state %.*s); stop them first",
                           SLICE_FMT(view.state));
    if (error == ERR_NONE)
        error = admin_reset_partitions(s->client, group, topics, topics_len,
                                       &s->arena, &items, &len);
    if (error == ERR_NONE)
        error = admin_reset_plan(s->client, group, mode, number, items, len,
                                 &s->arena);
    if (error == ERR_NONE && len > 0 && options_has(s->options, "execute"))
        error = admin_offsets_commit(s->client, group, -1, SLICE(""), items,
                                     len, &s->arena);
    for (int32_t i = 0; error == ERR_NONE && i < len; i++) {
        table_add_slice(t, group);
        table_add_slice(t, items[i].topic);
        table_add(t, "%d", items[i].partition);
        table_add(t, "%lld", (long long)items[i].offset);
    }
    return error;
}

static int reset(struct session *s)
{
    int64_t number = 0;
    enum reset_mode mode = read_mode(s->options, &number);
    const char **topics;
    struct slice *groups;
    size_t groups_len, topics_len = 0;
    struct table t;
    int code = EXIT_OK;

    if (mode == RESET_NONE)
        return EXIT_USAGE;
    if (!find(s, &groups, &groups_len, &code))
        return code;
    while (options_each(s->options, "topic", topics_len) != NULL)
        topics_len++;
    topics = arena_array(&s->arena, topics_len + 1, sizeof *topics);
    for (size_t i = 0; i < topics_len; i++)
        topics[i] = options_each(s->options, "topic", i);
    table_init(&t, "ssnn");
    table_add(&t, "GROUP");
    table_add(&t, "TOPIC");
    table_add(&t, "PARTITION");
    table_add(&t, "NEW OFFSET");
    for (size_t i = 0; i < groups_len; i++)
        if (reset_one(s, groups[i], mode, number, topics, topics_len, &t) !=
            ERR_NONE)
            code = ui_fail("cannot move the offsets of group %.*s: %s",
                           SLICE_FMT(groups[i]), client_why(s->client));
    show(s, &t);
    if (!s->json && code == EXIT_OK && !options_has(s->options, "execute"))
        fputs("Nothing was changed; --execute does it.\n", stderr);
    return code;
}

static int run(struct session *s)
{
    static const struct {
        const char *name;
        int (*run)(struct session *s);
    } verbs[] = {{"list", list},
                 {"describe", describe},
                 {"delete", delete},
                 {"reset-offsets", reset}};
    const char *verb = options_word(s->options, 0);

    for (size_t i = 0; verb != NULL && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(s);
    return ui_usage("groups", "say what to do: list, describe, delete or "
                              "reset-offsets");
}

int cmd_groups(int argc, char **argv)
{
    return session_run(option_specs, "groups", argc, argv, help, run);
}
