#include "broker/cleaner_file.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/map.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX_BYTES = 64 << 20 };

struct cleaner_file {
    _Atomic int refs;
    char *path;       /* owned */
    bool loaded;      /* what the file held is in `lines` */
    struct map lines; /* "TOPIC PARTITION" -> int64_t, owned */
};

/* ---- what it holds --------------------------------------------------------*/

struct cleaner_file *cleaner_file_new(const char *dir)
{
    struct cleaner_file *f = xcalloc(1, sizeof *f);

    atomic_init(&f->refs, 1);
    f->path = xasprintf("%s/cleaner-offset-checkpoint", dir);
    return f;
}

void cleaner_file_unref(struct cleaner_file *f)
{
    if (f == NULL || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    MAP_EACH (e, &f->lines) {
        free(e->value);
    }
    map_free(&f->lines);
    free(f->path);
    free(f);
}

static void put_line(struct cleaner_file *f, const char *key,
                     int64_t first_dirty)
{
    int64_t *value = NULL;

    if (first_dirty < 0) {
        free(map_remove(&f->lines, slice_str(key)));
        return;
    }
    value = xmalloc(sizeof *value);
    *value = first_dirty;
    free(map_put(&f->lines, slice_str(key), value));
}

void cleaner_file_put(struct cleaner_file *f, const char *topic,
                      int32_t partition, int64_t first_dirty)
{
    char *key = xasprintf("%s %d", topic, partition);

    put_line(f, key, first_dirty);
    free(key);
}

void cleaner_file_format(const struct cleaner_file *f, struct buf *text)
{
    buf_printf(text, "0\n%u\n", map_count(&f->lines));
    MAP_EACH (e, &f->lines) {
        buf_printf(text, "%.*s %" PRId64 "\n", (int)e->key.len,
                   (const char *)e->key.data, *(const int64_t *)e->value);
    }
}

/* Cuts the first line off; false at the end. */
static bool next_line(struct slice *text, char *line, size_t size)
{
    const uint8_t *end =
        text->len != 0 ? memchr(text->data, '\n', text->len) : NULL;

    if (end == NULL || (size_t)(end - text->data) >= size)
        return false;
    size_t len = (size_t)(end - text->data);
    memcpy(line, text->data, len);
    line[len] = '\0';
    *text = slice_of(end + 1, text->len - len - 1);
    return true;
}

bool cleaner_file_parse(struct cleaner_file *f, struct slice text)
{
    char line[512], topic[256];
    int32_t partition;
    int64_t first_dirty;

    if (!next_line(&text, line, sizeof line) || strcmp(line, "0") != 0 ||
        !next_line(&text, line, sizeof line))
        return false;
    while (next_line(&text, line, sizeof line)) {
        if (sscanf(line, "%255s %" SCNd32 " %" SCNd64, topic, &partition,
                   &first_dirty) != 3)
            return false;
        cleaner_file_put(f, topic, partition, first_dirty);
    }
    return text.len == 0;
}

/* ---- writing --------------------------------------------------------------*/

struct change {
    struct env_work work;
    struct env *env;
    struct cleaner_file *file; /* a reference */
    char *topic;               /* owned */
    int32_t partition;
    int64_t first_dirty;
};

static void load(struct cleaner_file *f, struct env *env)
{
    struct buf text = BUF_INIT;

    if (f->loaded)
        return;
    f->loaded = true;
    if (env_read_all(env, f->path, FILE_MAX_BYTES, &text) >= 0 &&
        !cleaner_file_parse(f, buf_slice(&text)))
        log_warn("cleaner", "%s is damaged; writing it anew", f->path);
    buf_free(&text);
}

static void run(struct env_work *work)
{
    struct change *c = (struct change *)(void *)work;
    struct cleaner_file *f = c->file;
    struct buf text = BUF_INIT;

    load(f, c->env);
    cleaner_file_put(f, c->topic, c->partition, c->first_dirty);
    cleaner_file_format(f, &text);
    int rc = env_write_all(c->env, f->path, buf_slice(&text));
    if (rc < 0)
        log_warn("cleaner", "%s could not be written: %s", f->path,
                 strerror(-rc));
    buf_free(&text);
}

static void done(struct env_work *work)
{
    struct change *c = (struct change *)(void *)work;

    cleaner_file_unref(c->file);
    free(c->topic);
    free(c);
}

void cleaner_file_set(struct cleaner_file *f, struct env *env,
                      const char *topic, int32_t partition, int64_t first_dirty)
{
    struct change *c = xcalloc(1, sizeof *c);

    atomic_fetch_add(&f->refs, 1);
    *c = (struct change){
        .work = {.lane = f, .run = run, .done = done},
        .env = env,
        .file = f,
        .topic = xstrdup(topic),
        .partition = partition,
        .first_dirty = first_dirty,
    };
    env_work_start(env, &c->work);
}
