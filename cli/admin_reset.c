/* Where a group's offsets could be moved to: Kafka's modes of
 * kafka-consumer-groups --reset-offsets.  Declared in admin_groups.h. */
#include "cli/admin_groups.h"
#include "cli/admin_topics.h"
#include "cli/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- which partitions
 * --------------------------------------------------------------------- */

static enum err add_whole_topic(struct client *c, struct slice topic,
                                struct arena *a,
                                struct partition_offset **items, int32_t *len)
{
    struct metadata_response m;
    struct client_retry retry;
    enum err error;

    client_retry_init(c, &retry);
    do {
        error = client_topics(c, &topic, 1, false, &m, a);
    } while (client_retry(&retry, error));
    if (error == ERR_NONE && m.topics_len == 1)
        error = m.topics[0].error_code;
    if (error != ERR_NONE)
        return client_fail(c, error, "topic %.*s: %s", SLICE_FMT(topic),
                           err_text(error));
    int32_t count = m.topics_len == 1 ? m.topics[0].partitions_len : 0;
    struct partition_offset *more =
        arena_array(a, (size_t)(*len + count) + 1, sizeof *more);
    if (*len != 0)
        memcpy(more, *items, (size_t)*len * sizeof *more);
    for (int32_t i = 0; i < count; i++)
        more[*len + i] = (struct partition_offset){
            .topic = topic,
            .partition = m.topics[0].partitions[i].partition_index,
            .offset = -1};
    *items = more;
    *len += count;
    return ERR_NONE;
}

/* "topic:0,1,2" */
static enum err add_partitions(struct client *c, const char *text,
                               const char *colon, struct arena *a,
                               struct partition_offset **items, int32_t *len)
{
    struct slice topic = slice_of(text, (size_t)(colon - text));
    struct partition_offset *more =
        arena_array(a, (size_t)*len + strlen(colon) + 1, sizeof *more);
    const char *p = colon + 1;

    if (*len != 0)
        memcpy(more, *items, (size_t)*len * sizeof *more);
    *items = more;
    do {
        char *end;
        long number = strtol(p, &end, 10);
        if (end == p || number < 0 || number > INT32_MAX ||
            (*end != ',' && *end != '\0'))
            return client_fail(c, ERR_INVALID_REQUEST,
                               "Invalid topic arg '%s', expected topic name "
                               "and partitions",
                               text);
        more[(*len)++] = (struct partition_offset){
            .topic = topic, .partition = (int32_t)number, .offset = -1};
        p = *end == ',' ? end + 1 : end;
    } while (*p != '\0');
    return ERR_NONE;
}

enum err admin_reset_partitions(struct client *c, struct slice group,
                                const char *const *topics, size_t topics_len,
                                struct arena *a,
                                struct partition_offset **items, int32_t *len)
{
    enum err error = ERR_NONE;

    *items = NULL;
    *len = 0;
    if (topics_len == 0) {
        *len = -1;
        return admin_offsets_committed(c, group, items, len, a);
    }
    for (size_t i = 0; error == ERR_NONE && i < topics_len; i++) {
        const char *colon = strrchr(topics[i], ':');
        error = colon == NULL
                    ? add_whole_topic(c, slice_str(topics[i]), a, items, len)
                    : add_partitions(c, topics[i], colon, a, items, len);
    }
    *len = partition_offsets_unique(*items, *len);
    return error;
}

/* ---- where to
 * ---------------------------------------------------------------------------------
 */

static struct partition_offset *copy(const struct partition_offset *items,
                                     int32_t len, struct arena *a)
{
    struct partition_offset *to = arena_array(a, (size_t)len + 1, sizeof *to);

    if (len > 0)
        memcpy(to, items, (size_t)len * sizeof *to);
    return to;
}

/* Every partition must have answered. */
static enum err check(struct client *c, const struct partition_offset *items,
                      int32_t len, const char *what)
{
    for (int32_t i = 0; i < len; i++)
        if (items[i].error != ERR_NONE)
            return client_fail(c, items[i].error,
                               "Error getting %s offset of topic partition: "
                               "%.*s-%d (%s)",
                               what, SLICE_FMT(items[i].topic),
                               items[i].partition, err_text(items[i].error));
    return ERR_NONE;
}

static enum err list(struct client *c, struct partition_offset *items,
                     int32_t len, int64_t when, const char *what,
                     struct arena *a)
{
    enum err error = admin_offsets_list(c, items, len, when, false, a);

    return error != ERR_NONE ? error : check(c, items, len, what);
}

/* Brings offsets into what the logs hold. */
static enum err clamp(struct client *c, struct partition_offset *items,
                      int32_t len, struct arena *a)
{
    struct partition_offset *low = copy(items, len, a);
    struct partition_offset *high = copy(items, len, a);
    enum err error = list(c, low, len, OFFSETS_EARLIEST, "starting", a);

    if (error == ERR_NONE)
        error = list(c, high, len, OFFSETS_LATEST, "ending", a);
    for (int32_t i = 0; error == ERR_NONE && i < len; i++) {
        if (items[i].offset > high[i].offset)
            items[i].offset = high[i].offset;
        else if (items[i].offset < low[i].offset)
            items[i].offset = low[i].offset;
    }
    return error;
}

static enum err shift(struct client *c, struct slice group, int64_t by,
                      struct partition_offset *items, int32_t len,
                      struct arena *a)
{
    enum err error = admin_offsets_committed(c, group, &items, &len, a);

    for (int32_t i = 0; error == ERR_NONE && i < len; i++) {
        if (items[i].offset < 0)
            return client_fail(c, ERR_INVALID_REQUEST,
                               "Cannot shift offset for partition %.*s-%d "
                               "since there is no current committed offset",
                               SLICE_FMT(items[i].topic), items[i].partition);
        if (__builtin_add_overflow(items[i].offset, by, &items[i].offset))
            items[i].offset = by < 0 ? 0 : INT64_MAX;
    }
    return error != ERR_NONE ? error : clamp(c, items, len, a);
}

/* By time; partitions without a record so young go to their ends.  Times before
 * 1970, which ListOffsets would take for something else, are 1970. */
static enum err to_time(struct client *c, struct partition_offset *items,
                        int32_t len, int64_t when, struct arena *a)
{
    struct partition_offset *ends = copy(items, len, a);
    enum err error = list(c, items, len, when < 0 ? 0 : when, "timestamp", a);

    if (error == ERR_NONE)
        error = list(c, ends, len, OFFSETS_LATEST, "ending", a);
    for (int32_t i = 0; error == ERR_NONE && i < len; i++)
        if (items[i].offset < 0)
            items[i].offset = ends[i].offset;
    return error;
}

/* What is committed; where nothing is, the end. */
static enum err to_current(struct client *c, struct slice group,
                           struct partition_offset *items, int32_t len,
                           struct arena *a)
{
    struct partition_offset *ends = copy(items, len, a);
    enum err error = admin_offsets_committed(c, group, &items, &len, a);

    if (error == ERR_NONE)
        error = list(c, ends, len, OFFSETS_LATEST, "ending", a);
    for (int32_t i = 0; error == ERR_NONE && i < len; i++)
        if (items[i].offset < 0)
            items[i].offset = ends[i].offset;
    return error;
}

enum err admin_reset_plan(struct client *c, struct slice group,
                          enum reset_mode mode, int64_t number,
                          struct partition_offset *items, int32_t len,
                          struct arena *a)
{
    partition_offsets_sort(items, len);
    switch (mode) {
    case RESET_NONE:
        break;
    case RESET_TO_EARLIEST:
        return list(c, items, len, OFFSETS_EARLIEST, "starting", a);
    case RESET_TO_LATEST:
        return list(c, items, len, OFFSETS_LATEST, "ending", a);
    case RESET_TO_OFFSET:
        for (int32_t i = 0; i < len; i++)
            items[i].offset = number;
        return clamp(c, items, len, a);
    case RESET_FROM_FILE:
        return clamp(c, items, len, a);
    case RESET_SHIFT_BY:
        return shift(c, group, number, items, len, a);
    case RESET_TO_DATETIME:
        return to_time(c, items, len, number, a);
    case RESET_TO_CURRENT:
        return to_current(c, group, items, len, a);
    }
    return ERR_NONE;
}

/* ---- times as text
 * --------------------------------------------------------------------------------
 */

/* "Z", "+01:00", "+0100", "-02" or nothing (UTC); minutes east of Greenwich. */
static bool parse_zone(const char *text, int *minutes)
{
    int hours = 0, rest = 0, used = 0;

    *minutes = 0;
    if (*text == '\0' || strcmp(text, "Z") == 0)
        return true;
    if (*text != '+' && *text != '-')
        return false;
    if (sscanf(text + 1, "%2d:%2d%n", &hours, &rest, &used) != 2 &&
        sscanf(text + 1, "%2d%2d%n", &hours, &rest, &used) != 2) {
        rest = 0;
        if (sscanf(text + 1, "%2d%n", &hours, &used) != 1)
            return false;
    }
    *minutes = (hours * 60 + rest) * (*text == '-' ? -1 : 1);
    return text[1 + used] == '\0';
}

bool admin_datetime_parse(const char *text, int64_t *ms)
{
    struct tm t = {0};
    int zone, used = 0;
    int64_t fraction = 0;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon,
               &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec, &used) != 6 ||
        used == 0)
        return false;
    text += used;
    if (*text == '.') {
        int64_t scale = 100;
        for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
            fraction += (*text - '0') * scale;
    }
    if (!parse_zone(text, &zone) || t.tm_mon < 1 || t.tm_mon > 12 ||
        t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour > 23 || t.tm_min > 59 ||
        t.tm_sec > 59)
        return false;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    *ms = ((int64_t)timegm(&t) - zone * 60) * 1000 + fraction;
    return true;
}

/* One "12D" of a duration: the number, then its letter. */
static bool parse_part(const char **text, const char *letters, double *value,
                       char *letter)
{
    char *end;

    *value = strtod(*text, &end);
    /* Not what strtod() takes besides, such as nan and 0x1p9. */
    if (end == *text ||
        strspn(*text, "+-.0123456789") != (size_t)(end - *text) ||
        *end == '\0' || strchr(letters, *end) == NULL)
        return false;
    *letter = *end;
    *text = end + 1;
    return true;
}

bool admin_duration_parse(const char *text, int64_t *ms)
{
    const double DURATION_MAX_S = 1e12; /* more than 30,000 years */
    double sum = 0, value;
    char letter;
    bool any = false;

    if (*text++ != 'P')
        return false;
    while (*text != '\0' && *text != 'T') {
        if (!parse_part(&text, "D", &value, &letter))
            return false;
        sum += value * 86400;
        any = true;
    }
    if (*text == 'T') {
        text++;
        while (*text != '\0') {
            if (!parse_part(&text, "HMS", &value, &letter))
                return false;
            sum += value * (letter == 'H' ? 3600 : letter == 'M' ? 60 : 1);
            any = true;
        }
    }
    if (sum < -DURATION_MAX_S || sum > DURATION_MAX_S)
        return false;
    *ms = (int64_t)(sum * 1000);
    return any && *text == '\0';
}
