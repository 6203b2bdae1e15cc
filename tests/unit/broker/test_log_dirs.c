/* The log directories of a node at its start and stop, on two disks in memory:
 * the mark of a clean stop counts once. */
#include "broker/log_dirs.h"

#include "base/alloc.h"
#include "base/kv.h"
#include "broker/cleaner_file.h"
#include "broker/meta.h"
#include "broker/replica/partition.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { DIRS = 2, EPOCH = 7 };

static char *paths[DIRS] = {"/data", "/data1"};

static struct env *env;
static struct server_config config;
static struct broker broker;
static bool no_descriptors; /* when the marks are looked for */

/* ---- what it asks of others -----------------------------------------------*/

void meta_log_dir_failed(struct meta *m, const struct log_dir *failed)
{
    cr_assert_fail("%s is given up", failed->path);
}

void partition_written(struct partition *p) {}
int64_t partition_unchanged_ms(const struct partition *p) { return 0; }
struct cleaner_file *cleaner_file_new(const char *path) { return NULL; }

/* ---- a node ---------------------------------------------------------------*/

static void begin(void)
{
    env = env_mem_new(11);
    for (int i = 0; i < DIRS; i++)
        env_mkdir(env, paths[i]);
    env_sync_dir(env, "/");
    config = (struct server_config){.node_id = 1,
                                    .is_broker = true,
                                    .cluster_id = "c2ltdWxhdGVkLWxlYXQ",
                                    .log_dirs = paths,
                                    .log_dirs_len = DIRS};
}

/* The sentence is the caller's; NULL: the node started, *epoch is its last. */
static char *start(int64_t *epoch)
{
    char *why = NULL;

    broker = (struct broker){.config = &config};
    enum err error = log_dirs_open(&broker, env, &why);
    cr_assert_eq(error, ERR_NONE, "%s", why);
    atomic_store(&broker.epoch, EPOCH);
    env_mem_faults(env)->no_more_at = no_descriptors;
    error = log_dirs_take_clean_marks(&broker, env, epoch, &why);
    env_mem_faults(env)->no_more_at = 0;
    cr_assert_eq(error == ERR_NONE, why == NULL);
    return why;
}

static void forget(void)
{
    for (int i = 0; i < broker.log_dirs_len; i++) {
        struct log_dir *dir = &broker.log_dirs[i];
        if (dir->checkpoints != NULL)
            kv_close(dir->checkpoints);
        if (dir->lock != NULL)
            env_file_unref(dir->lock);
    }
    free(broker.log_dirs);
    free((char *)broker.cluster_id);
    map_free(&broker.futures);
}

static void stop(void)
{
    log_dirs_leave_clean_marks(&broker, env);
    forget();
    env_mem_crash(env, ENV_MEM_KILL);
}

static void lose_power(void)
{
    env_mem_freeze(env);
    forget();
    env_mem_crash(env, ENV_MEM_WORST);
}

static void end(void)
{
    forget();
    env_mem_free(env);
}

/* ---- marks of a clean stop ------------------------------------------------*/

TestSuite(log_dirs, .init = begin, .fini = end);

Test(log_dirs, the_first_start_comes_after_no_clean_stop)
{
    int64_t epoch;

    cr_assert_null(start(&epoch));
    cr_assert_eq(epoch, -1);
    cr_assert(!broker.log_dirs[0].clean);
}

Test(log_dirs, a_clean_stop_counts_for_one_start)
{
    int64_t epoch;

    cr_assert_null(start(&epoch));
    stop();
    cr_assert_null(start(&epoch));
    cr_assert_eq(epoch, EPOCH);
    cr_assert(broker.log_dirs[0].clean);
    cr_assert(broker.log_dirs[1].clean);
    lose_power();
    cr_assert_null(start(&epoch));
    cr_assert_eq(epoch, -1);
    cr_assert(!broker.log_dirs[0].clean);
    cr_assert(!broker.log_dirs[1].clean);
}

/* It would count for a later start. */
Test(log_dirs, a_mark_that_cannot_be_read_does_not_stay)
{
    int64_t epoch;

    cr_assert_null(start(&epoch));
    stop();
    no_descriptors = true;
    char *why = start(&epoch);
    cr_assert_not_null(why);
    free(why);
    no_descriptors = false;
    forget();
    env_mem_crash(env, ENV_MEM_KILL);
    cr_assert_null(start(&epoch));
    cr_assert_eq(epoch, -1);
    cr_assert(!broker.log_dirs[0].clean);
}

/* By which an opening knows logs that were not open before the clean stop. */
Test(log_dirs, starts_after_other_stops_are_counted)
{
    int64_t epoch;

    cr_assert_null(start(&epoch));
    cr_assert_eq(broker.log_dirs[0].unclean_starts, 1);
    lose_power();
    cr_assert_null(start(&epoch));
    cr_assert_eq(broker.log_dirs[0].unclean_starts, 2);
    stop();
    cr_assert_null(start(&epoch));
    cr_assert_eq(broker.log_dirs[0].unclean_starts, 2);
    lose_power();
    cr_assert_null(start(&epoch));
    cr_assert_eq(broker.log_dirs[0].unclean_starts, 3);
    cr_assert_eq(broker.log_dirs[1].unclean_starts, 3);
}

Test(log_dirs, one_of_two_that_was_not_stopped_cleanly_is_enough)
{
    int64_t epoch;

    cr_assert_null(start(&epoch));
    stop();
    env_unlink(env, "/data1/.kafka_cleanshutdown");
    cr_assert_null(start(&epoch));
    cr_assert_eq(epoch, -1);
    cr_assert(broker.log_dirs[0].clean);
    cr_assert(!broker.log_dirs[1].clean);
}

Test(log_dirs, where_the_mark_stays_is_left_out)
{
    int64_t epoch;

    cr_assert_null(start(&epoch));
    stop();
    env_mem_faults(env)->unlink_of = "data1/.kafka_cleanshutdown";
    cr_assert_null(start(&epoch));
    cr_assert(!log_dir_failed(&broker.log_dirs[0]));
    cr_assert(log_dir_failed(&broker.log_dirs[1]));
    cr_assert_eq(epoch, EPOCH);
}

Test(log_dirs, without_another_directory_the_node_does_not_start)
{
    int64_t epoch;

    config.log_dirs_len = 1;
    cr_assert_null(start(&epoch));
    stop();
    env_mem_faults(env)->unlink_of = "/.kafka_cleanshutdown";
    char *why = start(&epoch);
    cr_assert_not_null(why);
    cr_assert_not_null(strstr(why, "/data cannot be removed"), "%s", why);
    free(why);
}
