/* A share-partition that is loaded: its coordinator is played by the test. */
#include "broker/share_lead.h"

#include "broker/share_client.h"
#include "broker/share_read.h"
#include "broker/share_settings.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>

static struct shard shard;
static struct shard_topic topic = {.id = {{7}}, .name = "t", .partitions = 1};
static struct partition partition;
static struct share_ask_call *asked; /* NULL: nothing */
static int questions, news;

/* ---- what is not here ----------------------------------------------------*/

void share_client_ask(struct share_ask_call *call)
{
    cr_assert_null(asked);
    asked = call;
    questions++;
}

void partition_watch(struct partition *p, struct partition_watch *w)
{
    list_push_back(&p->watches, &w->link);
}

enum err partition_check_leader(const struct partition *p,
                                int32_t current_epoch)
{
    return ERR_NONE;
}

void share_settings_of(struct shard *s, struct slice group,
                       struct share_settings *settings)
{
    *settings = (struct share_settings){0};
    share_partition_config_init(&settings->partition);
}

int64_t share_read_initial(const struct partition *p,
                           const struct share_reset *reset)
{
    return 0;
}

enum err share_read(struct partition *p, struct share_partition *core,
                    const struct share_take *take, bool read_committed,
                    struct share_taken *taken, struct share_update *update)
{
    return ERR_NONE;
}

/* ---- the test's ----------------------------------------------------------*/

static void on_news(struct share_watch *w) { news++; }

static struct share_watch watch = {.news = on_news};

static void set_up(void)
{
    shard = (struct shard){.env = env_mem_new(1)};
    shard.share_leads = share_leads_new(&shard);
    partition = (struct partition){.shard = &shard, .topic = &topic};
    list_init(&partition.watches);
    list_init(&watch.link);
}

static void tear_down(void)
{
    for (struct list *node;
         (node = list_pop_front(&partition.watches)) != NULL;) {
        struct partition_watch *w =
            LIST_ENTRY(node, struct partition_watch, link);

        w->gone(w);
    }
    share_leads_free(shard.share_leads);
    env_mem_free(shard.env);
}

TestSuite(share_lead, .init = set_up, .fini = tear_down);

static struct share_lead *lead(void)
{
    return share_lead_get(&partition, SLICE("g"));
}

static enum err take(void)
{
    struct share_taken taken = {0};

    return share_lead_take(
        lead(), &(struct share_take){.owner = SLICE("a"), .max_records = 1},
        &taken);
}

static void answer(enum err err)
{
    struct share_ask_call *call = asked;

    cr_assert_not_null(call);
    asked = NULL;
    call->question.err = err;
    call->done(call);
}

/* ---- loading -------------------------------------------------------------*/

Test(share_lead, is_asked_for_while_its_coordinator_does_not_answer)
{
    static const enum err errs[] = {
        ERR_COORDINATOR_NOT_AVAILABLE, ERR_COORDINATOR_LOAD_IN_PROGRESS,
        ERR_NOT_COORDINATOR, ERR_REQUEST_TIMED_OUT, ERR_CLOSED};

    share_lead_watch(lead(), &watch);
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++)
        answer(errs[i]);
    cr_assert_eq(questions, 6);
    cr_assert_eq(news, 0);
    answer(ERR_NONE);
    cr_assert_eq(news, 1);
    cr_assert_eq((int)take(), ERR_NONE);
}

Test(share_lead, is_not_asked_for_at_once_after_any_other_error)
{
    static const enum err errs[] = {
        ERR_UNKNOWN_SERVER_ERROR, ERR_CLUSTER_AUTHORIZATION_FAILED,
        ERR_UNSUPPORTED_VERSION, ERR_INVALID_REQUEST};

    for (int i = 0; i < (int)(sizeof errs / sizeof *errs); i++) {
        share_lead_watch(lead(), &watch);
        answer(errs[i]);
        cr_assert_eq(questions, i + 1);
        cr_assert_eq(news, i + 1);
        cr_assert_eq((int)take(), ERR_UNKNOWN_SERVER_ERROR);
        env_mem_advance(shard.env, 999);
        cr_assert_eq((int)take(), ERR_UNKNOWN_SERVER_ERROR);
        cr_assert_eq(questions, i + 1);
        env_mem_advance(shard.env, 1);
    }
}
