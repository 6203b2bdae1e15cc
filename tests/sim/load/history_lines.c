#include "tests/sim/load/history_lines.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 12, NAME_MAX_BYTES = 200, LINE_MAX_BYTES = 2000 };

/* A line in pieces; reading goes on after an error, which is kept. */
struct words {
    char text[LINE_MAX_BYTES];
    const char *word[WORDS_MAX];
    int len;
    int at;
    bool bad;
};

static void split(struct words *w, const char *line)
{
    char *save = NULL;

    w->len = w->at = 0;
    w->bad = strlen(line) >= sizeof w->text;
    snprintf(w->text, sizeof w->text, "%s", line);
    for (char *one = strtok_r(w->text, " ", &save);
         one != NULL && w->len < WORDS_MAX; one = strtok_r(NULL, " ", &save))
        w->word[w->len++] = one;
}

static const char *word(struct words *w)
{
    if (w->at == w->len || strlen(w->word[w->at]) > NAME_MAX_BYTES) {
        w->bad = true;
        return "";
    }
    return w->word[w->at++];
}

static int64_t number(struct words *w, int64_t min, int64_t max)
{
    const char *text = word(w);
    char *end;
    long long n = strtoll(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n < min || n > max) {
        w->bad = true;
        return min;
    }
    return n;
}

static int64_t any(struct words *w) { return number(w, INT64_MIN, INT64_MAX); }

static int topic(struct history_lines *l, struct words *w)
{
    return (int)number(w, 0, l->topics - 1);
}

static int32_t partition(struct words *w, int32_t min)
{
    return (int32_t)number(w, min, 10000);
}

/* Offsets index arrays, so a wild one would not be survived. */
static int64_t offset(struct words *w) { return number(w, -1, 1 << 28); }

static struct history_id id(struct history_lines *l, struct words *w)
{
    struct history_id r;

    r.topic = topic(l, w);
    r.producer = (int32_t)number(w, 0, 10000);
    r.number = any(w);
    return r;
}

/* ---- one function for each kind of line ---------------------------------- */

static void take_topic(struct history_lines *l, struct words *w)
{
    struct uuid none = {{0}};

    if (number(w, 0, 1000) != l->topics)
        w->bad = true;
    const char *name = word(w);
    if (!w->bad &&
        history_topic(l->history, slice_str(name), none) == l->topics)
        l->topics++;
    else
        w->bad = true;
}

static void take_session(struct history_lines *l, struct words *w)
{
    int64_t next = history_sessions(l->history);

    number(w, next, next);
    int32_t producer = (int32_t)number(w, 0, 10000);
    if (!w->bad)
        history_session(l->history, producer);
}

static void take_sent(struct history_lines *l, struct words *w)
{
    struct history_sent s;

    s.id = id(l, w);
    s.partition = partition(w, 0);
    s.acks = (int)number(w, -1, 1);
    s.session = any(w);
    s.sequence = any(w);
    s.timestamp_ms = any(w);
    if (w->bad || s.id.number != history_sent_by(l->history, s.id.producer) ||
        s.session >= history_sessions(l->history))
        w->bad = true;
    else
        history_sent(l->history, &s);
}

static bool was_sent(struct history_lines *l, struct history_id r)
{
    return r.number >= 0 && r.number < history_sent_by(l->history, r.producer);
}

static void take_acked(struct history_lines *l, struct words *w)
{
    struct history_id r = id(l, w);
    int64_t at = offset(w);

    if (w->bad || !was_sent(l, r))
        w->bad = true;
    else
        history_acked(l->history, r, at);
}

static void take_unknown(struct history_lines *l, struct words *w)
{
    struct history_id r = id(l, w);
    const char *why = word(w);

    if (w->bad || !was_sent(l, r))
        w->bad = true;
    else
        history_unknown(l->history, r, why);
}

static void take_seek(struct history_lines *l, struct words *w)
{
    int reader = (int)number(w, 0, 10000);
    int t = topic(l, w);
    int32_t p = partition(w, 0);
    int64_t at = offset(w);

    if (!w->bad)
        history_seek(l->history, reader, t, p, at);
}

static void take_read(struct history_lines *l, struct words *w)
{
    struct history_read r = {0};

    r.reader = (int)number(w, 0, 10000);
    r.topic = topic(l, w);
    r.partition = partition(w, 0);
    r.offset = number(w, 0, 1 << 28);
    r.leader_epoch = (int32_t)number(w, INT32_MIN, INT32_MAX);
    r.timestamp_ms = any(w);
    r.id = (struct history_id){.topic = r.topic,
                               .producer =
                                   (int32_t)number(w, INT32_MIN, INT32_MAX),
                               .number = any(w)};
    r.sound = number(w, 0, 1) != 0;
    if (!w->bad)
        history_read(l->history, &r);
}

static void take_delivered(struct history_lines *l, struct words *w)
{
    const char *group = word(w);
    int t = topic(l, w);
    int32_t p = partition(w, 0);
    int64_t at = offset(w);

    if (!w->bad)
        history_delivered(l->history, group, t, p, at);
}

static void take_assigned(struct history_lines *l, struct words *w)
{
    const char *group = word(w);
    int32_t generation = (int32_t)number(w, -1, INT32_MAX);
    const char *member = word(w);
    int t = topic(l, w);
    int32_t p = partition(w, -1);

    if (!w->bad)
        history_assigned(l->history, group, generation, member, t, p);
}

static void take_commit(struct history_lines *l, struct words *w)
{
    number(w, l->commits, l->commits);
    const char *group = word(w);
    int32_t generation = (int32_t)number(w, -1, INT32_MAX);
    const char *member = word(w);
    int t = topic(l, w);
    int32_t p = partition(w, 0);
    int64_t at = any(w);

    if (w->bad)
        return;
    history_commit(l->history, group, generation, member, t, p, at);
    l->commits++;
}

static void take_committed(struct history_lines *l, struct words *w)
{
    int64_t commit = number(w, 0, l->commits - 1);
    const char *outcome = word(w);

    if (w->bad)
        return;
    if (strcmp(outcome, "acked") == 0)
        history_committed(l->history, commit, HISTORY_ACKED);
    else if (strcmp(outcome, "refused") == 0)
        history_committed(l->history, commit, HISTORY_REFUSED);
    else if (strcmp(outcome, "unknown") == 0)
        history_committed(l->history, commit, HISTORY_UNKNOWN);
    else
        w->bad = true;
}

static void take_ask(struct history_lines *l, struct words *w)
{
    number(w, l->asked_len, l->asked_len);
    if (w->bad)
        return;
    l->asked =
        xrealloc(l->asked, (size_t)(l->asked_len + 1) * sizeof *l->asked);
    l->asked[l->asked_len++] = history_now(l->history);
}

static void take_offset(struct history_lines *l, struct words *w)
{
    int64_t question = number(w, 0, l->asked_len - 1);
    const char *group = word(w);
    int32_t generation = (int32_t)number(w, -1, INT32_MAX);
    int t = topic(l, w);
    int32_t p = partition(w, 0);
    int64_t commit = number(w, -1, INT64_MAX);
    int64_t at = any(w);

    if (!w->bad)
        history_offset(l->history, group, generation, t, p, l->asked[question],
                       commit, at);
}

static void take_final_start(struct history_lines *l, struct words *w)
{
    (void)w;
    history_final_start(l->history);
}

static void take_final(struct history_lines *l, struct words *w)
{
    int t = topic(l, w);
    int32_t p = partition(w, 0);
    int64_t start = offset(w);
    int64_t end = offset(w);

    if (!w->bad)
        history_final(l->history, t, p, start, end);
}

static void take_end(struct history_lines *l, struct words *w)
{
    (void)w;
    l->ended = true;
}

static const struct {
    const char *name;
    void (*take)(struct history_lines *l, struct words *w);
    int words;
    bool open; /* more may follow */
} kinds[] = {
    {"topic", take_topic, 3, false},
    {"session", take_session, 3, false},
    {"sent", take_sent, 9, false},
    {"acked", take_acked, 5, false},
    {"unknown", take_unknown, 5, true},
    {"seek", take_seek, 5, false},
    {"read", take_read, 10, false},
    {"delivered", take_delivered, 5, false},
    {"assigned", take_assigned, 6, false},
    {"commit", take_commit, 8, false},
    {"committed", take_committed, 3, false},
    {"ask", take_ask, 2, false},
    {"offset", take_offset, 8, false},
    {"final-start", take_final_start, 1, false},
    {"final", take_final, 5, false},
    {"end", take_end, 1, false},
};

bool history_lines_take(struct history_lines *l, const char *line)
{
    struct words w;

    if (l->ended)
        return false;
    if (strncmp(line, "note ", 5) == 0) {
        history_note(l->history, "%s", line);
        return true;
    }
    split(&w, line);
    const char *kind = word(&w);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i].name) == 0) {
            if (w.len < kinds[i].words ||
                (w.len > kinds[i].words && !kinds[i].open))
                return false;
            kinds[i].take(l, &w);
            return !w.bad;
        }
    return false;
}

void history_lines_free(struct history_lines *l)
{
    free(l->asked);
    l->asked = NULL;
}
