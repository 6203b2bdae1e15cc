/* The tables of `leat transactions` and of kafka-transactions: Kafka's columns
 * and words. */
#ifndef CLI_TRANSACTION_TABLES_H
#define CLI_TRANSACTION_TABLES_H

#include "cli/admin_transactions.h"
#include "cli/ui.h"

/* Each makes the table; the caller frees it. */
void transactions_table(struct table *t, const struct txn_listing *list,
                        int32_t len);
void transaction_table(struct table *t, struct slice id,
                       const struct txn_view *view, int64_t now_ms,
                       const char *none);
void producers_table(
    struct table *t,
    const struct describe_producers_response_partition_response *view,
    const char *none);
void hanging_table(struct table *t, const struct txn_place *list, int32_t len,
                   int64_t now_ms);

#endif
