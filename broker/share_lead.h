/* Share-partitions beside the partitions that this shard leads: one for each
 * group that fetches, from its first fetch until the leadership, the topic or
 * the group goes, or no session is left that has used it.
 *
 *     broker/share/partition.h   decides
 *     share_lead                 loads it, reads the log, carries updates out:
 *                                writes, ends of waiting, news, timers
 *
 * Happy path: the first fetch has the state read from the coordinator
 * (broker/share_client.h), with the leader's epoch, which fences the leaders
 * before it.  Until it is there fetches find nothing, and hear of news.
 *
 * When it cannot be loaded, fetches wait or hear why, and after a pause it is
 * tried again.  When the coordinator knows a newer leader or group, the share-
 * partition ends, and the next fetch begins anew.
 *
 * The partition's thread. */
#ifndef BROKER_SHARE_LEAD_H
#define BROKER_SHARE_LEAD_H

#include "broker/replica/partition.h"
#include "broker/share/partition.h"

struct share_lead;
struct share_leads;

struct share_leads *share_leads_new(struct shard *s);
/* When no task can arrive any more. */
void share_leads_free(struct share_leads *leads);

/* The group's share-partition of a partition that is led here; made if there is
 * none.  Valid until the caller returns to the loop. */
struct share_lead *share_lead_get(struct partition *p, struct slice group);
/* NULL: there is none. */
struct share_lead *share_lead_find(struct partition *p, struct slice group);

/* Somebody who wants to hear when a fetch may find something. */
struct share_watch {
    struct list link;
    /* Unlinked already. */
    void (*news)(struct share_watch *w);
};

void share_lead_watch(struct share_lead *lead, struct share_watch *w);
static inline void share_unwatch(struct share_watch *w)
{
    list_remove(&w->link);
}

/* ---- fetching -------------------------------------------------------------*/

struct share_take {
    struct slice owner; /* of what is acquired: a session */
    int32_t max_records;
    int32_t batch_size;
    enum share_acquire_mode mode;
    int64_t max_bytes;
    bool min_one; /* even if the first batch is larger */
    bool look;    /* only count bytes that could be read */
};

/* Zero-initialise. */
struct share_taken {
    struct share_acquired acquired; /* owned */
    struct log_range range;         /* file referenced if len > 0 */
    int64_t readable_bytes;         /* of a look */
};

/* Nothing may be found, or ERR_NONE of one that is not loaded yet. */
enum err share_lead_take(struct share_lead *lead, const struct share_take *take,
                         struct share_taken *taken);

/* ---- acknowledging --------------------------------------------------------*/

/* Embedded by who waits, and kept until done. */
struct share_lead_waiter {
    struct share_waiter waiter; /* with the result, in err */
    void (*done)(struct share_lead_waiter *w);
};

/* `done` comes at once, from inside, or later.  See
 * share_partition_acknowledge(). */
void share_lead_acknowledge(struct share_lead *lead, struct slice owner,
                            const struct share_ack *acks, uint32_t acks_len,
                            struct share_lead_waiter *w);
/* The owner is gone. */
void share_lead_release(struct share_lead *lead, struct slice owner);
/* The owner fetches no more, but may acknowledge what it has. */
void share_lead_forget(struct share_lead *lead, struct slice owner);

#endif
