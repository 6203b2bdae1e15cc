/* Looking keys up, and judging values in Kafka's words.
 *
 * A value is judged in two steps, as Kafka's ConfigDef does: first it must be
 * of its type, then within its limits.  Messages follow ConfigException:
 * "Invalid value VALUE for configuration KEY: REASON". */
#include "controller/config_defs.h"

#include "controller/config_table.h"
#include "controller/share_reset.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

struct table {
    const struct config_def *defs;
    const size_t *len;
};

#define X(name) {config_table_##name, &config_table_##name##_len},
static const struct table broker_tables[] = {CONFIG_BROKER_TABLES(X)};
static const struct table topic_tables[] = {X(topic)};
static const struct table group_tables[] = {X(consumer_group)};
static const struct table client_metrics_tables[] = {X(client_metrics)};
#undef X

static size_t tables_of(enum config_scope scope, const struct table **tables)
{
    switch (scope) {
    case CONFIG_TOPIC:
        *tables = topic_tables;
        return CONFIG_TABLE_LEN(topic_tables);
    case CONFIG_GROUP:
        *tables = group_tables;
        return CONFIG_TABLE_LEN(group_tables);
    case CONFIG_CLIENT_METRICS:
        *tables = client_metrics_tables;
        return CONFIG_TABLE_LEN(client_metrics_tables);
    case CONFIG_BROKER:
        break;
    }
    *tables = broker_tables;
    return CONFIG_TABLE_LEN(broker_tables);
}

/* ---- lookup ------------------------------------------------------------- */

static const struct config_def *find_in(const struct table *t, struct slice key)
{
    size_t low = 0;
    size_t high = *t->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_cmp(key, slice_str(t->defs[middle].key));
        if (order == 0)
            return &t->defs[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static const struct config_def *find_exact(enum config_scope scope,
                                           struct slice key)
{
    const struct table *tables;
    size_t count = tables_of(scope, &tables);

    for (size_t i = 0; i < count; i++) {
        const struct config_def *def = find_in(&tables[i], key);
        if (def != NULL)
            return def;
    }
    return NULL;
}

static bool starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && memcmp(s.data, prefix.data, prefix.len) == 0;
}

/* What follows the first dot; null if there is none. */
static struct slice after_dot(struct slice s)
{
    const uint8_t *dot = s.len == 0 ? NULL : memchr(s.data, '.', s.len);

    if (dot == NULL)
        return SLICE_NULL;
    return slice_of(dot + 1, (size_t)(s.data + s.len - dot - 1));
}

const struct config_def *config_find(enum config_scope scope, struct slice key)
{
    const struct config_def *def = find_exact(scope, key);
    struct slice prefix = SLICE("listener.name.");

    if (def != NULL || scope != CONFIG_BROKER || !starts_with(key, prefix))
        return def;
    struct slice rest =
        after_dot(slice_of(key.data + prefix.len, key.len - prefix.len));
    if (slice_is_null(rest))
        return NULL;
    def = find_exact(scope, rest);
    if (def != NULL)
        return def;
    rest = after_dot(rest);
    return slice_is_null(rest) ? NULL : find_exact(scope, rest);
}

size_t config_count(enum config_scope scope)
{
    const struct table *tables;
    size_t count = tables_of(scope, &tables);
    size_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += *tables[i].len;
    return sum;
}

const struct config_def *config_at(enum config_scope scope, size_t i)
{
    const struct table *t;
    size_t count = tables_of(scope, &t);
    const struct table *end = t + count;

    while (t < end && i >= *t->len)
        i -= *t++->len;
    ASSERT(t < end);
    return &t->defs[i];
}

bool config_is_internal(const struct config_def *def)
{
    return def->effect == CONFIG_LEGACY ||
           starts_with(slice_str(def->key), SLICE("internal."));
}

bool config_is_sensitive(const struct config_def *def)
{
    return def->type == CONFIG_PASSWORD;
}

/* ---- reading values ----------------------------------------------------- */

static bool is_space(uint8_t c)
{
    return c <= ' '; /* what Java's String.trim takes off */
}

struct slice config_trim(struct slice value)
{
    while (value.len != 0 && is_space(value.data[value.len - 1]))
        value.len--;
    while (value.len != 0 && is_space(value.data[0])) {
        value.data++;
        value.len--;
    }
    return value;
}

static bool equals_nocase(struct slice a, const char *b)
{
    return a.len == strlen(b) &&
           (a.len == 0 || strncasecmp((const char *)a.data, b, a.len) == 0);
}

bool config_parse_bool(struct slice value, bool *out)
{
    value = config_trim(value);
    if (!equals_nocase(value, "true") && !equals_nocase(value, "false"))
        return false;
    *out = equals_nocase(value, "true");
    return true;
}

bool config_parse_int64(struct slice value, int64_t *out)
{
    char text[32];
    char *end;

    value = config_trim(value);
    if (value.len == 0 || value.len >= sizeof text)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        bool sign = i == 0 && value.len > 1 && (c == '-' || c == '+');
        if (!sign && (c < '0' || c > '9'))
            return false;
    }
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *out = number;
    return true;
}

bool config_parse_int32(struct slice value, int32_t *out)
{
    int64_t wide;

    if (!config_parse_int64(value, &wide) || wide < INT32_MIN ||
        wide > INT32_MAX)
        return false;
    *out = (int32_t)wide;
    return true;
}

bool config_parse_double(struct slice value, double *out)
{
    char text[64];
    char *end;

    value = config_trim(value);
    if (value.len == 0 || value.len >= sizeof text)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (strchr("+-.0123456789eE", value.data[i]) == NULL ||
            value.data[i] == '\0')
            return false;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    double number = strtod(text, &end);
    if (*end != '\0')
        return false;
    *out = number;
    return true;
}

bool config_list_next(struct slice *rest, struct slice *item)
{
    if (slice_is_null(*rest))
        return false;
    struct slice whole = config_trim(*rest);
    const uint8_t *comma =
        whole.len == 0 ? NULL : memchr(whole.data, ',', whole.len);

    if (comma == NULL) {
        *item = whole;
        *rest = SLICE_NULL;
        return whole.len != 0;
    }
    size_t n = (size_t)(comma - whole.data);
    *item = config_trim(slice_of(whole.data, n));
    *rest = slice_of(comma + 1, whole.len - n - 1);
    return true;
}

bool config_list_has(struct slice list, const char *item)
{
    struct slice each;

    while (config_list_next(&list, &each))
        if (slice_eq_str(each, item))
            return true;
    return false;
}

/* ---- judging values ----------------------------------------------------- */

static const char *type_name(enum config_type type)
{
    switch (type) {
    case CONFIG_INT:
        return "INT";
    case CONFIG_SHORT:
        return "SHORT";
    case CONFIG_LONG:
        return "LONG";
    default:
        return "DOUBLE";
    }
}

/* Why the value is not of the type, or NULL; numbers are left in *number. */
static char *check_type(const struct config_def *def, struct slice value,
                        double *number)
{
    int64_t integer;
    bool boolean;

    switch (def->type) {
    case CONFIG_BOOLEAN:
        if (config_parse_bool(value, &boolean))
            return NULL;
        return xstrdup("Expected value to be either true or false");
    case CONFIG_INT:
    case CONFIG_SHORT:
    case CONFIG_LONG:
        if (!config_parse_int64(value, &integer) ||
            (def->type == CONFIG_INT && integer != (int32_t)integer) ||
            (def->type == CONFIG_SHORT && integer != (int16_t)integer))
            break;
        *number = (double)integer;
        return NULL;
    case CONFIG_DOUBLE:
        if (!config_parse_double(value, number))
            break;
        return NULL;
    case CONFIG_STRING:
    case CONFIG_LIST:
    case CONFIG_CLASS:
    case CONFIG_PASSWORD:
        return NULL;
    }
    return xasprintf("Not a number of type %s", type_name(def->type));
}

/* Whether "a, b, c" holds the word. */
static bool is_allowed(const struct config_rule *rule, struct slice word)
{
    struct slice rest = slice_str(rule->allowed);
    struct slice each;

    while (config_list_next(&rest, &each)) {
        if (rule->kind == CONFIG_RULE_ONE_OF_NOCASE
                ? each.len == word.len &&
                      strncasecmp((const char *)each.data,
                                  (const char *)word.data, word.len) == 0
                : slice_eq(each, word))
            return true;
    }
    return false;
}

/* One item of leader.replication.throttled.replicas: "12:3". */
static bool is_replica(struct slice item)
{
    const uint8_t *colon =
        item.len == 0 ? NULL : memchr(item.data, ':', item.len);
    int32_t number;

    if (colon == NULL)
        return false;
    size_t n = (size_t)(colon - item.data);
    return config_parse_int32(slice_of(item.data, n), &number) && number >= 0 &&
           config_parse_int32(slice_of(colon + 1, item.len - n - 1), &number) &&
           number >= 0;
}

static char *check_throttled_replicas(struct slice key, struct slice value)
{
    struct slice rest = value;
    struct slice item;

    if (slice_eq_str(config_trim(value), "*"))
        return NULL;
    while (config_list_next(&rest, &item))
        if (!is_replica(item))
            return xasprintf(
                "%.*s must be the literal '*' or a list of replicas in the "
                "following format: "
                "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
                SLICE_FMT(key));
    return NULL;
}

static char *check_share_reset(struct slice key, struct slice value)
{
    struct share_reset reset;

    if (share_reset_parse(config_trim(value), &reset))
        return NULL;
    return xasprintf(
        "Invalid value `%.*s` for configuration %.*s. The value must be either "
        "'earliest', 'latest' or of the format "
        "'by_duration:<PnDTnHnMn.nS.>'.",
        SLICE_FMT(value), SLICE_FMT(key));
}

static char *check_one_of(const struct config_def *def, struct slice value,
                          struct slice *culprit)
{
    const struct config_rule *rule = &def->rule;
    struct slice rest = value;
    struct slice item = config_trim(value);
    bool ok = true;

    if (def->type == CONFIG_LIST) {
        while (ok && config_list_next(&rest, &item))
            ok = is_allowed(rule, item);
    } else {
        ok = is_allowed(rule, item);
    }
    if (ok)
        return NULL;
    *culprit = item;
    return xasprintf(
        "String must be one of%s: %s",
        rule->kind == CONFIG_RULE_ONE_OF_NOCASE ? " (case insensitive)" : "",
        rule->allowed);
}

/* Why the value is outside its limits, or NULL.  *culprit is the part of the
 * value to blame. */
static char *check_rule(const struct config_def *def, struct slice key,
                        struct slice value, double number,
                        struct slice *culprit)
{
    const struct config_rule *rule = &def->rule;

    switch (rule->kind) {
    case CONFIG_RULE_ANY:
        return NULL;
    case CONFIG_RULE_RANGE:
        if (number < rule->min)
            return xasprintf("Value must be at least %.17g", rule->min);
        if (number > rule->max)
            return xasprintf("Value must be no more than %.17g", rule->max);
        return NULL;
    case CONFIG_RULE_ONE_OF:
    case CONFIG_RULE_ONE_OF_NOCASE:
        return check_one_of(def, value, culprit);
    case CONFIG_RULE_NON_EMPTY:
        if (config_trim(value).len == 0)
            return xstrdup("String must be non-empty");
        return NULL;
    case CONFIG_RULE_GZIP_LEVEL:
        if (number != -1 && (number < 1 || number > 9))
            return xstrdup("Value must be between 1 and 9 or equal to -1");
        return NULL;
    case CONFIG_RULE_THROTTLED_REPLICAS:
        return check_throttled_replicas(key, value);
    case CONFIG_RULE_SHARE_RESET:
        return check_share_reset(key, value);
    }
    return NULL;
}

enum err config_check(const struct config_def *def, struct slice key,
                      struct slice value, char **why)
{
    struct slice culprit = value;
    char *reason;
    double number = 0;

    if (slice_is_null(value)) {
        if (def->fallback == NULL)
            return ERR_NONE;
        reason = xstrdup("Value must be non-null");
        culprit = SLICE("null");
    } else {
        reason = check_type(def, value, &number);
        if (reason == NULL)
            reason = check_rule(def, key, value, number, &culprit);
    }
    if (reason == NULL)
        return ERR_NONE;
    if (config_is_sensitive(def))
        culprit = SLICE("[hidden]");
    *why = xasprintf("Invalid value %.*s for configuration %.*s: %s",
                     SLICE_FMT(culprit), SLICE_FMT(key), reason);
    free(reason);
    return ERR_INVALID_CONFIG;
}

/* A key whose meaning we cannot give may still be set to its default. */
static enum err check_refused(const struct config_def *def, struct slice key,
                              struct slice value, char **why)
{
    if (def->effect != CONFIG_REFUSED ||
        slice_eq(config_trim(value), slice_str(def->fallback)))
        return ERR_NONE;
    *why = xasprintf("Invalid value %.*s for configuration %.*s: %s",
                     SLICE_FMT(value), SLICE_FMT(key), def->why);
    return ERR_INVALID_CONFIG;
}

static enum err check_all(const struct config_def *def, struct slice key,
                          struct slice value, char **why)
{
    enum err error = config_check(def, key, value, why);

    return error != ERR_NONE ? error : check_refused(def, key, value, why);
}

enum err config_validate_topic(struct slice key, struct slice value, char **why)
{
    const struct config_def *def = config_find(CONFIG_TOPIC, key);

    if (def != NULL)
        return check_all(def, key, value, why);
    *why = xasprintf("Unknown topic config name: %.*s", SLICE_FMT(key));
    return ERR_INVALID_CONFIG;
}

enum err config_validate_group(struct slice key, struct slice value, char **why)
{
    const struct config_def *def = config_find(CONFIG_GROUP, key);

    if (def != NULL)
        return check_all(def, key, value, why);
    *why = xasprintf("Unknown group config name: %.*s", SLICE_FMT(key));
    return ERR_INVALID_CONFIG;
}

/* "client_id=shop.*": what a client is known by, and a pattern. */
static bool is_match(struct slice item)
{
    static const char *const names[] = {
        "client_instance_id",    "client_id",
        "client_software_name",  "client_software_version",
        "client_source_address", "client_source_port"};
    const uint8_t *equals =
        item.len == 0 ? NULL : memchr(item.data, '=', item.len);

    if (equals == NULL)
        return false;
    size_t n = (size_t)(equals - item.data);
    struct slice name = config_trim(slice_of(item.data, n));
    struct slice pattern = slice_of(equals + 1, item.len - n - 1);
    if (pattern.len == 0 || memchr(pattern.data, '=', pattern.len) != NULL)
        return false;
    for (size_t i = 0; i < CONFIG_TABLE_LEN(names); i++)
        if (slice_eq_str(name, names[i]))
            return true;
    return false;
}

static enum err check_matches(struct slice value, char **why)
{
    struct slice item;

    while (config_list_next(&value, &item))
        if (!is_match(item)) {
            *why = xasprintf("Illegal client matching pattern: %.*s",
                             SLICE_FMT(item));
            return ERR_INVALID_CONFIG;
        }
    return ERR_NONE;
}

enum err config_validate_client_metrics(struct slice key, struct slice value,
                                        char **why)
{
    const struct config_def *def = config_find(CONFIG_CLIENT_METRICS, key);
    int64_t interval_ms = 0;

    if (def == NULL) {
        *why = xasprintf("Unknown client metrics configuration: %.*s",
                         SLICE_FMT(key));
        return ERR_INVALID_REQUEST;
    }
    enum err error = check_all(def, key, value, why);
    if (error != ERR_NONE || slice_is_null(value))
        return error;
    if (slice_eq_str(key, "match"))
        return check_matches(value, why);
    if (def->type != CONFIG_INT)
        return ERR_NONE;
    config_parse_int64(value, &interval_ms);
    if (interval_ms >= 100 && interval_ms <= 3600000)
        return ERR_NONE;
    *why = xasprintf("Invalid value %lld for %.*s, interval must be between "
                     "100 and 3600000 (1 hour)",
                     (long long)interval_ms, SLICE_FMT(key));
    return ERR_INVALID_REQUEST;
}

enum err config_validate_broker_dynamic(struct slice key, struct slice value,
                                        bool per_broker, char **why)
{
    const struct config_def *def = config_find(CONFIG_BROKER, key);

    if (def == NULL)
        return ERR_NONE;
    if (def->update == CONFIG_READ_ONLY) {
        *why = xasprintf("Cannot update these configs dynamically: [%.*s]",
                         SLICE_FMT(key));
        return ERR_INVALID_REQUEST;
    }
    if (def->update == CONFIG_PER_BROKER && slice_eq_str(key, def->key) &&
        starts_with(key, SLICE("ssl."))) {
        *why = xasprintf("These security configs can be dynamically updated "
                         "only per-listener using the listener prefix: [%.*s]",
                         SLICE_FMT(key));
        return ERR_INVALID_REQUEST;
    }
    if (def->update == CONFIG_PER_BROKER && !per_broker) {
        *why = xasprintf("Cannot update these configs at default cluster "
                         "level, broker id must be specified: [%.*s]",
                         SLICE_FMT(key));
        return ERR_INVALID_REQUEST;
    }
    return check_all(def, key, value, why) == ERR_NONE ? ERR_NONE
                                                       : ERR_INVALID_REQUEST;
}
