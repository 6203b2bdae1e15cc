#include "cli/transaction_tables.h"

enum { MINUTE_MS = 60000 };

static void heading(struct table *t, const char *types,
                    const char *const *names)
{
    table_init(t, types);
    for (; *names != NULL; names++)
        table_add(t, "%s", *names);
}

static void add_or_none(struct table *t, int64_t value, const char *none)
{
    if (value >= 0)
        table_add(t, "%lld", (long long)value);
    else
        table_add(t, "%s", none);
}

void transactions_table(struct table *t, const struct txn_listing *list,
                        int32_t len)
{
    static const char *const names[] = {"TransactionalId", "Coordinator",
                                        "ProducerId", "TransactionState", NULL};

    heading(t, "snns", names);
    for (int32_t i = 0; i < len; i++) {
        table_add_slice(t, list[i].id);
        table_add(t, "%d", (int)list[i].coordinator);
        table_add(t, "%lld", (long long)list[i].producer_id);
        table_add_slice(t, list[i].state);
    }
}

static void add_partitions(struct table *t, const struct txn_view *view)
{
    struct buf text = BUF_INIT;

    for (int32_t i = 0; i < view->state.topics_len; i++)
        for (int32_t k = 0; k < view->state.topics[i].partitions_len; k++)
            buf_printf(&text, "%s%.*s-%d", text.len != 0 ? "," : "",
                       SLICE_FMT(view->state.topics[i].topic),
                       (int)view->state.topics[i].partitions[k]);
    table_add(t, "%.*s", SLICE_FMT(buf_slice(&text)));
    buf_free(&text);
}

void transaction_table(struct table *t, struct slice id,
                       const struct txn_view *view, int64_t now_ms,
                       const char *none)
{
    static const char *const names[] = {"CoordinatorId",
                                        "TransactionalId",
                                        "ProducerId",
                                        "ProducerEpoch",
                                        "TransactionState",
                                        "TransactionTimeoutMs",
                                        "CurrentTransactionStartTimeMs",
                                        "TransactionDurationMs",
                                        "TopicPartitions",
                                        NULL};
    int64_t start_ms = view->state.transaction_start_time_ms;

    heading(t, "nsnnsnnns", names);
    table_add(t, "%d", (int)view->coordinator);
    table_add_slice(t, id);
    table_add(t, "%lld", (long long)view->state.producer_id);
    table_add(t, "%d", view->state.producer_epoch);
    table_add_slice(t, view->state.transaction_state);
    table_add(t, "%d", (int)view->state.transaction_timeout_ms);
    add_or_none(t, start_ms, none);
    add_or_none(t, start_ms >= 0 ? now_ms - start_ms : -1, none);
    add_partitions(t, view);
}

void producers_table(
    struct table *t,
    const struct describe_producers_response_partition_response *view,
    const char *none)
{
    static const char *const names[] = {"ProducerId",
                                        "ProducerEpoch",
                                        "LatestCoordinatorEpoch",
                                        "LastSequence",
                                        "LastTimestamp",
                                        "CurrentTransactionStartOffset",
                                        NULL};

    heading(t, "nnnnnn", names);
    for (int32_t i = 0; i < view->active_producers_len; i++) {
        const struct describe_producers_response_producer_state *p =
            &view->active_producers[i];

        table_add(t, "%lld", (long long)p->producer_id);
        table_add(t, "%d", (int)p->producer_epoch);
        table_add(t, "%d", (int)p->coordinator_epoch);
        table_add(t, "%d", (int)p->last_sequence);
        table_add(t, "%lld", (long long)p->last_timestamp);
        add_or_none(t, p->current_txn_start_offset, none);
    }
}

void hanging_table(struct table *t, const struct txn_place *list, int32_t len,
                   int64_t now_ms)
{
    static const char *const names[] = {
        "Topic",         "Partition",        "ProducerId",
        "ProducerEpoch", "CoordinatorEpoch", "StartOffset",
        "LastTimestamp", "Duration(min)",    NULL};

    heading(t, "snnnnnnn", names);
    for (int32_t i = 0; i < len; i++) {
        const struct describe_producers_response_producer_state *p =
            &list[i].producer;

        table_add_slice(t, list[i].topic);
        table_add(t, "%d", (int)list[i].partition);
        table_add(t, "%lld", (long long)p->producer_id);
        table_add(t, "%d", (int)p->producer_epoch);
        table_add(t, "%d", (int)p->coordinator_epoch);
        table_add(t, "%lld", (long long)p->current_txn_start_offset);
        table_add(t, "%lld", (long long)p->last_timestamp);
        table_add(t, "%lld",
                  (long long)((now_ms - p->last_timestamp) / MINUTE_MS));
    }
}
