/* One section per table of config_table.h, one row per key. */
#include "controller/config_doc.h"

#include "controller/config_table.h"

static const char intro[] =
    "# Configuration\n"
    "\n"
    "<!-- Printed by scripts/gen-config-doc from controller/config_table_*.c; "
    "change those. -->\n"
    "\n"
    "`leatd FILE.properties` reads Kafka's keys with Kafka's defaults, so a "
    "`server.properties` of Apache Kafka\n"
    "works as it is. Values are taken, the later ones winning, from the file, "
    "from `KAFKA_*` environment variables,\n"
    "and from `--override key=value` on the command line.\n"
    "\n"
    "**Environment variables**, as container images use them: `KAFKA_` is "
    "dropped, the rest becomes lower case, `_` becomes `.`,\n"
    "`__` becomes `_` and `___` becomes `-`. `KAFKA_NODE_ID=1` is "
    "`node.id=1`. Variables whose names are no key are left alone.\n"
    "`CLUSTER_ID` formats empty log directories for that cluster before the "
    "start.\n"
    "\n"
    "**A key we do not know** is named once in the log and otherwise ignored. "
    "**Contradictions** end the start with a sentence that names\n"
    "the key, its value and what to do.\n"
    "\n"
    "**Changing a running broker:** `leat configs` (or `kafka-configs.sh`) "
    "changes keys marked *per broker* on one broker, and those\n"
    "marked *cluster* on one broker or as the default of all. The others need "
    "a restart.\n"
    "\n"
    "What we do with a key:\n"
    "\n"
    "- *used*: as described.\n"
    "- *no effect*: accepted and described back; the reason why nothing "
    "depends on it is given here, and\n"
    "  in the log of a node whose file sets another value than the default.\n"
    "- *old*: gone from Kafka; accepted with a warning.\n"
    "- *refused*: ignoring it would be wrong, so any value but the default "
    "stops the start or the change.\n";

struct section {
    const char *title;
    const struct config_def *defs;
    const size_t *len;
};

#define ROWS(name) config_table_##name, &config_table_##name##_len
static const struct section sections[] = {
    {"Nodes and controllers", ROWS(node)},
    {"Listeners and connections", ROWS(network)},
    {"Topics and logs", ROWS(log)},
    {"Replication and fetching", ROWS(replica)},
    {"Consumer groups", ROWS(group)},
    {"Producers and transactions", ROWS(transaction)},
    {"Quotas and metrics", ROWS(quota)},
    {"Security", ROWS(security)},
    {"Share groups and streams groups", ROWS(share)},
    {"Tiered storage", ROWS(remote)},
    {"Keys of old releases", ROWS(legacy)},
    {"Configurations of topics", ROWS(topic)},
    {"Configurations of groups", ROWS(consumer_group)},
    {"Subscriptions to metrics of clients", ROWS(client_metrics)},
};
#undef ROWS

static const char *effect_text(enum config_effect effect)
{
    switch (effect) {
    case CONFIG_NO_EFFECT:
        return "no effect";
    case CONFIG_LEGACY:
        return "old";
    case CONFIG_REFUSED:
        return "refused";
    case CONFIG_USED:
        break;
    }
    return "used";
}

static const char *update_text(enum config_update update)
{
    switch (update) {
    case CONFIG_PER_BROKER:
        return "per broker";
    case CONFIG_CLUSTER_WIDE:
        return "cluster";
    case CONFIG_READ_ONLY:
        break;
    }
    return "";
}

static const char *type_text(enum config_type type)
{
    static const char *const names[] = {"",      "boolean", "string", "int",
                                        "short", "long",    "double", "list",
                                        "class", "password"};

    return names[type];
}

static void print_default(struct buf *page, const struct config_def *def)
{
    if (def->fallback == NULL)
        buf_printf(page, "none");
    else if (def->fallback[0] == '\0')
        buf_printf(page, "empty");
    else
        buf_printf(page, "`%s`", def->fallback);
}

static void print_limits(struct buf *page, const struct config_rule *rule)
{
    switch (rule->kind) {
    case CONFIG_RULE_ANY:
        break;
    case CONFIG_RULE_RANGE:
        if (isinf(rule->max))
            buf_printf(page, ", from %.17g", rule->min);
        else
            buf_printf(page, ", %.17g to %.17g", rule->min, rule->max);
        break;
    case CONFIG_RULE_ONE_OF:
    case CONFIG_RULE_ONE_OF_NOCASE:
    case CONFIG_RULE_SHARE_RESET:
        buf_printf(page, ": %s", rule->allowed);
        break;
    case CONFIG_RULE_NON_EMPTY:
        buf_printf(page, ", not empty");
        break;
    case CONFIG_RULE_GZIP_LEVEL:
        buf_printf(page, ", 1 to 9 or -1");
        break;
    case CONFIG_RULE_THROTTLED_REPLICAS:
        buf_printf(page, ": `partition:broker`, or `*`");
        break;
    }
}

static void print_row(struct buf *page, const struct config_def *def,
                      bool is_broker)
{
    buf_printf(page, "| `%s` | %s", def->key, type_text(def->type));
    print_limits(page, &def->rule);
    buf_printf(page, " | ");
    print_default(page, def);
    if (is_broker)
        buf_printf(page, " | %s", update_text(def->update));
    else
        buf_printf(page, " | %s", def->synonyms != NULL ? def->synonyms : "");
    buf_printf(page, " | %s | %s", effect_text(def->effect), def->doc);
    if (def->why != NULL)
        buf_printf(page, " (%s)", def->why);
    buf_printf(page, " |\n");
}

static void print_section(struct buf *page, const struct section *s)
{
    bool is_broker = s->defs != config_table_topic &&
                     s->defs != config_table_consumer_group &&
                     s->defs != config_table_client_metrics;

    buf_printf(page, "\n## %s\n\n", s->title);
    buf_printf(page, "| key | type | default | %s | | what it does |\n",
               is_broker ? "while running"
                         : "broker keys that give the default");
    buf_printf(page, "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < *s->len; i++)
        if (!config_is_internal(&s->defs[i]) ||
            s->defs[i].effect == CONFIG_LEGACY)
            print_row(page, &s->defs[i], is_broker);
}

void config_doc_print(struct buf *page)
{
    buf_printf(page, "%s", intro);
    for (size_t i = 0; i < CONFIG_TABLE_LEN(sections); i++)
        print_section(page, &sections[i]);
}
