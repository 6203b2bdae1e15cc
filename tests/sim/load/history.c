#include "tests/sim/load/history.h"

#include "tests/sim/load/history_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct history *history_new(const struct history_promise *promise)
{
    struct history *h = xcalloc(1, sizeof *h);

    h->promise = *promise;
    return h;
}

void history_free(struct history *h)
{
    history_free_logs(h);
    history_free_groups(h);
    map_free(&h->doomed);
    map_free(&h->doomed_once);
    for (size_t i = 0; i < h->muted_len; i++)
        free(h->muted[i]);
    free(h->muted);
    map_free(&h->compacted);
    free(h->checker);
    free(h->sentence);
    free(h);
}

/* ---- events -------------------------------------------------------------- */

void history_on_event(struct history *h, history_trace *trace, void *arg)
{
    h->trace = trace;
    h->trace_arg = arg;
}

void history_note(struct history *h, const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len >= sizeof line)
        len = sizeof line - 1;
    h->tick++;
    h->hash = (h->hash ^ hash_bytes(line, len)) * 0x9e3779b97f4a7c15u;
    h->hash ^= h->hash >> 29;
    if (h->trace != NULL)
        h->trace(h->trace_arg, line);
}

void history_mark(struct history *h, const int64_t *numbers, size_t len)
{
    h->tick++;
    for (size_t i = 0; i < len; i++) {
        h->hash = (h->hash ^ (uint64_t)numbers[i]) * 0x9e3779b97f4a7c15u;
        h->hash ^= h->hash >> 29;
    }
}

void history_tell(struct history *h, const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    h->trace(h->trace_arg, line);
}

uint64_t history_hash(const struct history *h) { return h->hash; }

uint64_t history_now(const struct history *h) { return h->tick; }

const struct history_counts *history_counts(const struct history *h)
{
    return &h->counts;
}

/* ---- verdict ------------------------------------------------------------- */

void history_mute(struct history *h, const char *checker)
{
    h->muted = xrealloc(h->muted, (h->muted_len + 1) * sizeof *h->muted);
    h->muted[h->muted_len++] = xstrdup(checker);
}

static bool is_muted(const struct history *h, const char *checker)
{
    for (size_t i = 0; i < h->muted_len; i++)
        if (strcmp(h->muted[i], checker) == 0 ||
            strcmp(h->muted[i], "all") == 0)
            return true;
    return false;
}

void history_violation(struct history *h, const char *checker,
                       const char *format, ...)
{
    char text[1024];
    va_list arguments;

    if (h->checker != NULL || is_muted(h, checker))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    h->checker = xstrdup(checker);
    h->sentence = xstrdup(text);
    history_note(h, "violation %s: %s", checker, text);
}

const char *history_verdict(const struct history *h, const char **sentence)
{
    *sentence = h->sentence;
    return h->checker;
}

struct history_where history_where(const struct history *h, int topic,
                                   int32_t partition)
{
    struct history_where w;

    snprintf(w.text, sizeof w.text, "%.60s[%d]-%d",
             history_topic_name(h, topic), topic, partition);
    return w;
}

struct history_where history_who(struct history_id id)
{
    struct history_where w;

    snprintf(w.text, sizeof w.text, "record %lld of producer %d",
             (long long)id.number, id.producer);
    return w;
}

/* ---- topics ---------------------------------------------------------------
 */

/* The final read may be told of an incarnation before the last by a node that
 * has not caught up; had anybody used the last one, it would be known. */
static bool is_doomed(const struct history *h, struct slice name)
{
    return map_get(&h->doomed, name) != NULL ||
           (h->finishing && map_get(&h->doomed_once, name) != NULL);
}

int history_topic(struct history *h, struct slice name, struct uuid id)
{
    char text[UUID_TEXT_SIZE];

    for (int i = h->topics_len - 1; i >= 0; i--)
        if (uuid_eq(h->topics[i].id, id) &&
            slice_eq_str(name, h->topics[i].name))
            return i;
    h->topics =
        xrealloc(h->topics, (size_t)(h->topics_len + 1) * sizeof *h->topics);
    h->topics[h->topics_len] = (struct topic){
        .name = slice_dup(name), .id = id, .doomed = is_doomed(h, name)};
    history_note(h, "topic %.*s[%d] is %s", SLICE_FMT(name), h->topics_len,
                 uuid_format(id, text));
    return h->topics_len++;
}

const char *history_topic_name(const struct history *h, int topic)
{
    return topic >= 0 && topic < h->topics_len ? h->topics[topic].name : "?";
}

void history_topic_doomed(struct history *h, struct slice name)
{
    history_note(h, "doomed %.*s", SLICE_FMT(name));
    map_put(&h->doomed, name, h);
    map_put(&h->doomed_once, name, h);
    for (int i = 0; i < h->topics_len; i++)
        if (slice_eq_str(name, h->topics[i].name))
            h->topics[i].doomed = true;
}

void history_topic_wanted(struct history *h, struct slice name)
{
    map_remove(&h->doomed, name);
}

void history_topic_compacted(struct history *h, struct slice name)
{
    static char compacted;

    map_put(&h->compacted, name, &compacted);
}

bool history_is_compacted(const struct history *h, int topic)
{
    return map_get(&h->compacted, slice_str(h->topics[topic].name)) != NULL;
}

bool history_topic_is_doomed(const struct history *h, int topic)
{
    ASSERT(topic >= 0 && topic < h->topics_len);
    return h->topics[topic].doomed;
}
