#include "raft/store.h"
#include "tests/unit/raft/memory_kv.h"
#include "tests/unit/raft/world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static struct world world;
static struct env env;
static struct kv *kv;
static struct raft_config initial;
static struct raft core;
static struct raft_update update;
static struct raft_store *store;
static uint64_t persisted;
static int failure;
static bool closed;

static void on_persisted(void *arg, uint64_t seq)
{
    struct raft_event e = {.type = RAFT_PERSISTED, .seq = seq};

    (void)arg;
    persisted = seq;
    raft_step(&core, &e, &update);
    raft_store_add(store, &core, &update);
    raft_store_flush(store);
}

static void on_failed(void *arg, int error)
{
    (void)arg;
    failure = error;
}

static void on_closed(void *arg)
{
    (void)arg;
    closed = true;
}

static void event(struct raft_event e)
{
    raft_step(&core, &e, &update);
    raft_store_add(store, &core, &update);
    raft_store_flush(store);
}

static void run(void)
{
    while (world_next(&world, world.now_ms + 1000))
        ;
}

static void open_store(uint64_t applied, uint64_t applied_term)
{
    struct raft_store_options o = {
        .env = &env,
        .kv = kv,
        .persisted = on_persisted,
        .failed = on_failed,
    };
    struct raft_options options = raft_options_default(1);
    struct raft_stored stored;
    char *why = NULL;

    options.compact_keep_entries = 2;
    cr_assert_eq(raft_store_load(kv, "/data/raft", &initial, applied,
                                 applied_term, &stored, &why),
                 0, "%s", why);
    raft_init(&core, &options, &stored, applied);
    store = raft_store_open(&o);
}

static void close_store(void)
{
    closed = false;
    raft_store_close(store, on_closed, NULL);
    cr_assert_not(closed, "never from inside the call");
    run();
    cr_assert(closed);
    raft_free(&core);
}

static void propose(const char *text)
{
    struct slice data = slice_str(text);

    event((struct raft_event){
        .type = RAFT_PROPOSE, .proposals = &data, .proposals_len = 1});
    cr_assert_eq(update.error, 0);
}

static void set_up(void)
{
    struct raft_member self = {.id = 1, .voter = true, .host = "h", .port = 9};

    world_init(&world, 1);
    env_init(&env, &world);
    kv = memory_kv_new();
    raft_config_set(&initial, &self);
    open_store(0, 0);
    event((struct raft_event){.type = RAFT_START});
    run();
    cr_assert_eq(core.role, RAFT_LEADER);
}

static void tear_down(void)
{
    raft_update_free(&update);
    memory_kv_free(kv);
    raft_config_free(&initial);
    world_free(&world);
}

TestSuite(store, .init = set_up, .fini = tear_down);

/* The sentence; "" if it loads. */
static char *load_error(int *error, uint64_t applied, uint64_t applied_term)
{
    struct raft_stored stored;
    char *why = NULL;

    *error = raft_store_load(kv, "/data/raft", &initial, applied, applied_term,
                             &stored, &why);
    if (*error != 0)
        return why;
    raft_log_free(&stored.log);
    raft_config_free(&stored.base_config.config);
    return xstrdup("");
}

static void expect_damage(uint64_t applied, uint64_t term, const char *part)
{
    int error;
    char *why = load_error(&error, applied, term);

    cr_assert_eq(error, -EBADMSG);
    cr_assert_not_null(strstr(why, "/data/raft"), "%s", why);
    cr_assert_not_null(strstr(why, part), "'%s' is not in: %s", part, why);
    free(why);
}

static void entry_key(uint8_t key[9], uint64_t index)
{
    key[0] = 'e';
    be64_put(key + 1, index);
}

static void put_raw(struct slice key, struct slice value)
{
    struct kv_batch b = KV_BATCH_INIT;

    if (slice_is_null(value))
        kv_batch_delete(&b, key);
    else
        kv_batch_put(&b, key, value);
    cr_assert_eq(kv_write(kv, &b, true), 0);
    kv_batch_free(&b);
}

Test(store, a_restart_brings_everything_back)
{
    propose("one");
    propose("");
    run();
    close_store();
    memory_kv_crash(kv, 0);
    open_store(0, 0);
    cr_assert_eq(core.term, 1);
    cr_assert_eq(core.vote, 1);
    cr_assert_eq(raft_log_last(&core.log), 3);
    cr_assert(slice_eq_str(raft_log_get(&core.log, 2).data, "one"));
    cr_assert_eq(raft_log_get(&core.log, 3).data.len, 0);
    cr_assert_eq(raft_log_get(&core.log, 1).type, RAFT_ENTRY_NOOP);
    cr_assert_str_eq(raft_config_now(&core)->members[0].host, "h");
    close_store();
}

Test(store, what_comes_during_a_write_goes_together_with_the_next)
{
    int writes = 0;
    uint64_t before = persisted;

    propose("first");
    for (int i = 0; i < 100; i++)
        propose("more");
    cr_assert_eq(persisted, before);
    cr_assert_gt(raft_store_waiting_bytes(store), 1000);
    while (persisted < core.seq) {
        uint64_t last = persisted;

        cr_assert(world_next(&world, world.now_ms + 1000));
        writes += persisted != last;
    }
    cr_assert_eq(writes, 2);
    cr_assert_eq(core.commit, 102);
    close_store();
}

Test(store, nothing_counts_before_its_write_and_a_crash_loses_the_rest)
{
    propose("kept");
    run();
    propose("lost");
    cr_assert_eq(core.commit, 2);
    closed = false;
    raft_store_close(store, on_closed, NULL);
    env_crash(&env);
    cr_assert(closed);
    raft_free(&core);
    memory_kv_crash(kv, 0);
    open_store(0, 0);
    cr_assert_geq(raft_log_last(&core.log), 2);
    cr_assert(slice_eq_str(raft_log_get(&core.log, 2).data, "kept"));
    close_store();
}

Test(store, compaction_and_truncation_reach_the_disk)
{
    for (int i = 0; i < 9; i++)
        propose("x");
    run();
    event((struct raft_event){.type = RAFT_COMPACT, .index = 8});
    run();
    close_store();
    open_store(8, 1);
    cr_assert_eq(core.log.base_index, 6, "two are kept");
    cr_assert_eq(core.log.base_term, 1);
    cr_assert_eq(raft_log_last(&core.log), 10);
    cr_assert_eq(core.commit, 8, "the owner's image is committed");
    close_store();
}

Test(store, a_full_disk_is_tried_again_and_loses_nothing)
{
    memory_kv_fail(kv, -ENOSPC);
    propose("a");
    run();
    cr_assert_eq(failure, -ENOSPC);
    propose("b");
    run();
    cr_assert_eq(core.commit, 1);
    memory_kv_fail(kv, 0);
    raft_store_retry(store);
    run();
    cr_assert_eq(core.commit, 3);
    close_store();
    open_store(0, 0);
    cr_assert_eq(raft_log_last(&core.log), 3);
    close_store();
}

Test(store, damage_is_named_with_its_place)
{
    uint8_t key[9];
    struct buf value = BUF_INIT;

    for (int i = 0; i < 4; i++)
        propose("payload");
    run();
    close_store();

    entry_key(key, 3);
    kv_get(kv, slice_of(key, 9), &value);
    value.data[12] ^= 1;
    put_raw(slice_of(key, 9), buf_slice(&value));
    expect_damage(0, 0, "entry 3 fails its checksum");

    put_raw(slice_of(key, 9), SLICE_NULL);
    expect_damage(0, 0, "entry 3 is missing");

    value.data[12] ^= 1;
    put_raw(slice_of(key, 9), buf_slice(&value)); /* whole again */
    entry_key(key, 4); /* a right value in a wrong place */
    put_raw(slice_of(key, 9), buf_slice(&value));
    expect_damage(0, 0, "entry 4 fails its checksum");
    buf_free(&value);

    put_raw(SLICE("v"), SLICE("short"));
    expect_damage(0, 0, "'v' fails its checksum");
    put_raw(SLICE("v"), SLICE_NULL);
    expect_damage(0, 0, "no vote");
}

Test(store, a_state_that_does_not_fit_the_log_is_refused)
{
    propose("x");
    run();
    close_store();
    expect_damage(7, 1, "state it belongs to is at entry 7");
    expect_damage(2, 3, "state it belongs to is at entry 2");
    open_store(0, 0);
    event((struct raft_event){.type = RAFT_START});
    run();
    for (int i = 0; i < 5; i++)
        propose("x");
    run();
    event((struct raft_event){.type = RAFT_COMPACT, .index = core.applied});
    run();
    close_store();
    expect_damage(1, 1, "the log begins after entry");
}

/* Died after the owner had made a peer's image durable, before the log was
 * moved there. */
Test(store, an_image_that_was_installed_just_before_a_crash_is_adopted)
{
    propose("x");
    run();
    update = RAFT_UPDATE_INIT;
    core.incoming.index = 50;
    core.incoming.term = 1;
    core.incoming.config_index = 40;
    raft_config_copy(&core.incoming.config, &initial);
    core.incoming.config.members[0].port = 77;
    update.persist_seq = ++core.seq;
    update.persist_incoming = true;
    raft_store_add(store, &core, &update);
    raft_store_flush(store);
    run();
    close_store();
    open_store(50, 1);
    cr_assert_eq(core.log.base_index, 50);
    cr_assert_eq(core.log.base_term, 1);
    cr_assert_eq(core.log.len, 0);
    cr_assert_eq(raft_config_now_index(&core), 40);
    cr_assert_eq(raft_config_now(&core)->members[0].port, 77);
    close_store();
    open_store(50, 1); /* and it stays so */
    cr_assert_eq(core.log.base_index, 50);
    close_store();
}
