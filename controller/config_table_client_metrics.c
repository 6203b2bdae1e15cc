/* Keys of subscriptions to the metrics of clients (KIP-714).  Sorted by key. */
#include "controller/config_table.h"

#define NOT_ASKED "clients are not asked for metrics in this release"

const struct config_def config_table_client_metrics[] = {
    {"interval.ms", CONFIG_INT, "300000", ANY, CONFIG_CLUSTER_WIDE,
     CONFIG_NO_EFFECT,
     "How often clients send their metrics, 100 to 3600000 (ms).", NOT_ASKED,
     NULL},
    {"match", CONFIG_LIST, "", ANY, CONFIG_CLUSTER_WIDE, CONFIG_NO_EFFECT,
     "Which clients: `client_id`, `client_instance_id`, "
     "`client_software_name`, `client_software_version`, "
     "`client_source_address`, `client_source_port`, each `=PATTERN`; empty: "
     "all.",
     NOT_ASKED, NULL},
    {"metrics", CONFIG_LIST, "", ANY, CONFIG_CLUSTER_WIDE, CONFIG_NO_EFFECT,
     "Prefixes of the names of the metrics; `*`: all.", NOT_ASKED, NULL},
};
const size_t config_table_client_metrics_len =
    CONFIG_TABLE_LEN(config_table_client_metrics);
