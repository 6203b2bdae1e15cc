/* Consumer groups: lists, descriptions, deletion, and where their offsets
 * could be moved to.  Errors as in admin_topics.h. */
#ifndef CLI_ADMIN_GROUPS_H
#define CLI_ADMIN_GROUPS_H

#include "cli/admin_offsets.h"

struct group_listing {
    struct slice group;
    struct slice state; /* "Stable", ...; empty from old brokers */
    struct slice type;  /* "classic", ... */
    struct slice protocol_type;
};

/* All groups that consumers form, of all brokers, by name.  A state filter
 * ("Stable,Empty") may be NULL. */
enum err admin_groups_list(struct client *c, const char *states,
                           struct arena *a, struct group_listing **groups,
                           int32_t *len);

struct group_member {
    struct slice id;
    struct slice instance_id; /* null: none */
    struct slice client_id;
    struct slice host;
    struct partition_offset *partitions; /* assigned; offset unused */
    int32_t partitions_len;
    int32_t epoch; /* -1: the group has none, and no target either */
    struct partition_offset *target;
    int32_t target_len;
};

struct group_view {
    struct slice group;
    struct slice state; /* "Dead": there is no such group */
    struct slice assignor;
    int32_t epoch; /* -1: a classic group */
    int32_t target_epoch;
    int32_t coordinator;
    struct group_member *members;
    int32_t members_len;
};

enum err admin_group_describe(struct client *c, struct slice group,
                              struct arena *a, struct group_view *view);

/* A line of a description: what a group has to do with a partition. */
struct group_row {
    struct slice topic; /* null: a member without partitions */
    int32_t partition;
    int64_t committed;                 /* -1: none */
    int64_t end;                       /* -1: not known */
    const struct group_member *member; /* NULL: nobody reads it */
};

/* Assigned partitions in the order of the members with most of them, then the
 * committed ones that nobody reads. */
enum err admin_group_rows(struct client *c, const struct group_view *view,
                          struct arena *a, struct group_row **rows,
                          int32_t *len);

enum err admin_group_delete(struct client *c, struct slice group,
                            struct arena *a);

/* ---- moving offsets --------------------------------------------------------
 */

enum reset_mode {
    RESET_NONE,
    RESET_TO_EARLIEST,
    RESET_TO_LATEST,
    RESET_TO_OFFSET,   /* number */
    RESET_SHIFT_BY,    /* number */
    RESET_TO_DATETIME, /* number: ms since 1970 */
    RESET_TO_CURRENT,
    RESET_FROM_FILE, /* items carry the offsets */
};

/* Fills items[].offset with where the group would go, each brought into what
 * the log holds.  Sorted by topic and partition afterwards. */
enum err admin_reset_plan(struct client *c, struct slice group,
                          enum reset_mode mode, int64_t number,
                          struct partition_offset *items, int32_t len,
                          struct arena *a);

/* Partitions by "topic" or "topic:0,1" (or of all topics the group has
 * committed to, with topics_len 0), for resets.  Unknown topics are errors. */
enum err admin_reset_partitions(struct client *c, struct slice group,
                                const char *const *topics, size_t topics_len,
                                struct arena *a,
                                struct partition_offset **items, int32_t *len);

/* "2026-11-21T09:30:00.000" with "Z" or "+01:00" behind it (nothing: UTC, as in
 * Kafka) to ms since 1970. */
bool admin_datetime_parse(const char *text, int64_t *ms);
/* "P1DT2H3M4.5S" to ms. */
bool admin_duration_parse(const char *text, int64_t *ms);

#endif
