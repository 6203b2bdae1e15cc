/* Who listens where.  The order follows the dependencies: names and protocols
 * first, then the sockets, then what clients are told, then which listener the
 * brokers use among themselves. */
#include "broker/config_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

/* ---- names and protocols --------------------------------------------------
 */

static char *upper(struct slice name)
{
    char *text = slice_dup(name);

    for (char *p = text; *p != '\0'; p++)
        *p = (char)toupper((unsigned char)*p);
    return text;
}

static bool equals_nocase(struct slice a, const char *b)
{
    return a.len == strlen(b) &&
           strncasecmp((const char *)a.data, b, a.len) == 0;
}

static bool list_has_nocase(struct slice list, const char *name)
{
    struct slice item;

    while (config_list_next(&list, &item))
        if (item.len != 0 && equals_nocase(item, name))
            return true;
    return false;
}

/* Splits "a<separator>b"; false if there is no separator. */
static bool split(struct slice text, char separator, struct slice *left,
                  struct slice *right)
{
    const uint8_t *at =
        text.len == 0 ? NULL : memchr(text.data, separator, text.len);

    if (at == NULL)
        return false;
    size_t n = (size_t)(at - text.data);
    *left = config_trim(slice_of(text.data, n));
    *right = config_trim(slice_of(at + 1, text.len - n - 1));
    return true;
}

static bool is_protocol(struct slice name)
{
    return equals_nocase(name, "PLAINTEXT") || equals_nocase(name, "SSL") ||
           equals_nocase(name, "SASL_PLAINTEXT") ||
           equals_nocase(name, "SASL_SSL");
}

/* The security protocol of a listener name; null if none is set.  Without a
 * map of one's own, controller listeners are PLAINTEXT, as in Kafka. */
static struct slice protocol_of(const struct server_config *c,
                                const char *listener)
{
    struct slice rest = config_text(c, "listener.security.protocol.map");
    struct slice item, name, protocol;

    while (config_list_next(&rest, &item))
        if (split(item, ':', &name, &protocol) && equals_nocase(name, listener))
            return protocol;
    if (!config_given(c, "listener.security.protocol.map") &&
        list_has_nocase(config_text(c, "controller.listener.names"), listener))
        return SLICE("PLAINTEXT");
    return SLICE_NULL;
}

static enum err check_protocol(const struct server_config *c, const char *name,
                               char **why)
{
    struct slice protocol = protocol_of(c, name);

    if (equals_nocase(protocol, "PLAINTEXT"))
        return ERR_NONE;
    const char *map = "listener.security.protocol.map";

    if (slice_is_null(protocol) && !config_given(c, map))
        *why = xasprintf("%s is not given, and listener %s is not named after "
                         "its protocol: give a map with every listener in it, "
                         "such as %s:PLAINTEXT",
                         map, name, name);
    else if (slice_is_null(protocol))
        *why = xasprintf("%s=%s does not say which protocol listener %s "
                         "speaks: add %s:PLAINTEXT",
                         map, config_shown(c, map), name, name);
    else if (!is_protocol(protocol))
        *why = xasprintf("listener.security.protocol.map=%s: %.*s is no "
                         "protocol; listener %s can be PLAINTEXT",
                         config_shown(c, "listener.security.protocol.map"),
                         SLICE_FMT(protocol), name);
    else
        *why =
            xasprintf("listeners=%s: listener %s asks for %.*s, and this "
                      "release speaks PLAINTEXT only; remove the listener "
                      "or give it PLAINTEXT",
                      config_shown(c, "listeners"), name, SLICE_FMT(protocol));
    return ERR_INVALID_CONFIG;
}

static enum err check_protocol_map(const struct server_config *c, char **why)
{
    struct slice rest = config_text(c, "listener.security.protocol.map");
    struct slice item, name, protocol;

    while (config_list_next(&rest, &item))
        if (!split(item, ':', &name, &protocol) || name.len == 0 ||
            !is_protocol(protocol)) {
            *why = xasprintf("listener.security.protocol.map=%s: \"%.*s\" is "
                             "not of the form NAME:PROTOCOL",
                             config_shown(c, "listener.security.protocol.map"),
                             SLICE_FMT(item));
            return ERR_INVALID_CONFIG;
        }
    return ERR_NONE;
}

/* ---- addresses ------------------------------------------------------------
 */

bool config_parse_host_port(struct slice text, struct slice *host,
                            uint16_t *port)
{
    size_t colon = text.len;
    int32_t number;

    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0 ||
        !config_parse_int32(slice_of(text.data + colon, text.len - colon),
                            &number) ||
        number < 0 || number > 65535)
        return false;
    *host = slice_of(text.data, colon - 1);
    *port = (uint16_t)number;
    if (host->len != 0 && host->data[0] == '[') {
        if (host->len < 3 || host->data[host->len - 1] != ']')
            return false;
        *host = slice_of(host->data + 1, host->len - 2);
        return true;
    }
    return host->len == 0 || memchr(host->data, ':', host->len) == NULL;
}

/* "NAME://host:port" */
static bool parse_listener(const struct server_config *c, struct slice text,
                           struct server_listener *out)
{
    struct slice name, rest, host;
    uint16_t port;

    if (!split(text, ':', &name, &rest) || name.len == 0 || rest.len < 2 ||
        memcmp(rest.data, "//", 2) != 0 ||
        !config_parse_host_port(slice_of(rest.data + 2, rest.len - 2), &host,
                                &port))
        return false;
    *out = (struct server_listener){
        .name = upper(name), .host = slice_dup(host), .port = port};
    out->is_controller =
        list_has_nocase(config_text(c, "controller.listener.names"), out->name);
    return true;
}

/* Appends the listeners of one key to an array that grows. */
static enum err parse_listeners(const struct server_config *c, const char *key,
                                struct server_listener **items, size_t *len,
                                char **why)
{
    struct slice rest = config_text(c, key);
    struct slice item;

    while (config_list_next(&rest, &item)) {
        *items = xrealloc(*items, (*len + 1) * sizeof **items);
        if (!parse_listener(c, item, &(*items)[*len])) {
            *why = xasprintf("%s=%s: \"%.*s\" is not of the form "
                             "NAME://host:port",
                             key, config_shown(c, key), SLICE_FMT(item));
            return ERR_INVALID_CONFIG;
        }
        ++*len;
    }
    return ERR_NONE;
}

static bool is_ipv6(const char *host) { return strchr(host, ':') != NULL; }

/* Two listeners may share a port, or a name, only as an IPv4 and an IPv6
 * address of one listener (KIP-797). */
static bool may_coexist(const struct server_listener *a,
                        const struct server_listener *b, bool *same_name)
{
    bool pair = is_ipv6(a->host) != is_ipv6(b->host) && a->host[0] != '\0' &&
                b->host[0] != '\0';

    *same_name = strcmp(a->name, b->name) == 0;
    if (*same_name)
        return pair && a->port == b->port;
    return a->port != b->port || a->port == 0 || pair;
}

static enum err check_distinct(const struct server_config *c, char **why)
{
    bool same_name;

    for (size_t i = 0; i < c->listeners_len; i++)
        for (size_t k = 0; k < i; k++) {
            const struct server_listener *l = &c->listeners[i];
            if (may_coexist(l, &c->listeners[k], &same_name))
                continue;
            if (same_name)
                *why = xasprintf("listeners=%s: the name %s is used twice; "
                                 "give each listener a name of its own",
                                 config_shown(c, "listeners"), l->name);
            else
                *why = xasprintf("listeners=%s: port %d is used twice; give "
                                 "each listener a port of its own",
                                 config_shown(c, "listeners"), l->port);
            return ERR_INVALID_CONFIG;
        }
    return ERR_NONE;
}

static enum err read_sockets(struct server_config *c, char **why)
{
    enum err error =
        parse_listeners(c, "listeners", &c->listeners, &c->listeners_len, why);

    if (error == ERR_NONE && c->listeners_len == 0) {
        *why = xasprintf("listeners is empty: give at least one, such as "
                         "PLAINTEXT://:9092");
        error = ERR_INVALID_CONFIG;
    }
    if (error == ERR_NONE)
        error = check_distinct(c, why);
    for (size_t i = 0; error == ERR_NONE && i < c->listeners_len; i++)
        error = check_protocol(c, c->listeners[i].name, why);
    return error;
}

/* ---- what clients are told ------------------------------------------------
 */

const struct server_listener *
server_config_listener(const struct server_config *c, const char *name)
{
    for (size_t i = 0; i < c->listeners_len; i++)
        if (strcmp(c->listeners[i].name, name) == 0)
            return &c->listeners[i];
    return NULL;
}

const struct server_listener *
server_config_advertised(const struct server_config *c, const char *name)
{
    for (size_t i = 0; i < c->advertised_len; i++)
        if (strcmp(c->advertised[i].name, name) == 0)
            return &c->advertised[i];
    return NULL;
}

const struct server_listener *
server_config_first_advertised(const struct server_config *c)
{
    for (size_t i = 0; i < c->advertised_len; i++)
        if (!c->advertised[i].is_controller)
            return &c->advertised[i];
    return NULL;
}

/* Listeners that nobody advertises are advertised as they are; with
 * advertised.listeners given that goes for controller listeners only. */
static void advertise_rest(struct server_config *c, bool brokers_too)
{
    for (size_t i = 0; i < c->listeners_len; i++) {
        const struct server_listener *l = &c->listeners[i];
        if ((!l->is_controller && !brokers_too) ||
            server_config_advertised(c, l->name) != NULL)
            continue;
        c->advertised = xrealloc(c->advertised, (c->advertised_len + 1) *
                                                    sizeof *c->advertised);
        c->advertised[c->advertised_len] = *l;
        c->advertised[c->advertised_len].name = xstrdup(l->name);
        c->advertised[c->advertised_len].host = xstrdup(l->host);
        c->advertised_len++;
    }
}

static enum err check_advertised(struct server_config *c, const char *host_name,
                                 char **why)
{
    const char *key = config_given(c, "advertised.listeners")
                          ? "advertised.listeners"
                          : "listeners";

    for (size_t i = 0; i < c->advertised_len; i++) {
        struct server_listener *l = &c->advertised[i];
        if (server_config_listener(c, l->name) == NULL) {
            *why = xasprintf("%s=%s: %s is no name in listeners=%.*s; "
                             "advertise only what is listened on",
                             key, config_shown(c, key), l->name,
                             SLICE_FMT(config_text(c, "listeners")));
            return ERR_INVALID_CONFIG;
        }
        bool any =
            strcmp(l->host, "0.0.0.0") == 0 || strcmp(l->host, "::") == 0;
        if (any && !(l->is_controller && strcmp(key, "listeners") == 0)) {
            *why = xasprintf(
                "%s=%s: clients cannot connect to %s; set "
                "advertised.listeners=%s://HOST:%d with a host name or "
                "address that they reach",
                key, config_shown(c, key), l->host, l->name, l->port);
            return ERR_INVALID_CONFIG;
        }
        if (l->host[0] == '\0' || any) {
            free(l->host);
            l->host = xstrdup(host_name);
        }
    }
    return ERR_NONE;
}

static enum err read_advertised(struct server_config *c, const char *host_name,
                                char **why)
{
    bool given = config_text(c, "advertised.listeners").len != 0;
    enum err error = parse_listeners(c, "advertised.listeners", &c->advertised,
                                     &c->advertised_len, why);

    if (error != ERR_NONE)
        return error;
    advertise_rest(c, !given);
    return check_advertised(c, host_name, why);
}

/* ---- listeners of controllers, listener between brokers -------------------
 */

static enum err fail(char **why, char *sentence)
{
    *why = sentence;
    return ERR_INVALID_CONFIG;
}

static enum err read_controller_listener(struct server_config *c, char **why)
{
    struct slice rest = config_text(c, "controller.listener.names");
    const char *shown = config_shown(c, "controller.listener.names");
    struct slice item;

    while (config_list_next(&rest, &item)) {
        char *name = upper(item);
        bool listens = server_config_listener(c, name) != NULL;
        enum err error = check_protocol(c, name, why);

        if (c->controller_listener == NULL)
            c->controller_listener = xstrdup(name);
        free(name);
        if (error != ERR_NONE)
            return error;
        if (c->is_controller && !listens)
            return fail(why, xasprintf("controller.listener.names=%s: %.*s is "
                                       "no name in listeners=%.*s; add "
                                       "%.*s://:9093 there",
                                       shown, SLICE_FMT(item),
                                       SLICE_FMT(config_text(c, "listeners")),
                                       SLICE_FMT(item)));
        if (!c->is_controller && listens)
            return fail(why, xasprintf("controller.listener.names=%s: with "
                                       "process.roles=broker the node is no "
                                       "controller, so remove %.*s from "
                                       "listeners=%s",
                                       shown, SLICE_FMT(item),
                                       config_shown(c, "listeners")));
    }
    return ERR_NONE;
}

static size_t broker_listeners(const struct server_config *c,
                               const struct server_listener **only)
{
    size_t count = 0;

    for (size_t i = 0; i < c->advertised_len; i++)
        if (!c->advertised[i].is_controller) {
            *only = &c->advertised[i];
            count++;
        }
    return count;
}

/* By name; by protocol; or the only one there is. */
static enum err read_inter_broker_listener(struct server_config *c, char **why)
{
    const struct server_listener *only = NULL;
    size_t count = broker_listeners(c, &only);
    bool by_name = config_given(c, "inter.broker.listener.name");
    bool by_protocol = config_given(c, "security.inter.broker.protocol");
    const char *key = by_name ? "inter.broker.listener.name"
                              : "security.inter.broker.protocol";

    if (by_name && by_protocol)
        return fail(why,
                    xasprintf("inter.broker.listener.name=%s and "
                              "security.inter.broker.protocol=%s say the same "
                              "thing twice: remove the second",
                              config_shown(c, "inter.broker.listener.name"),
                              config_shown(c, "security.inter.broker."
                                              "protocol")));
    if (!c->is_broker && count != 0)
        return fail(why,
                    xasprintf("listeners=%.*s: with process.roles=controller "
                              "only the listeners in "
                              "controller.listener.names=%s may be there; "
                              "remove %s",
                              SLICE_FMT(config_text(c, "listeners")),
                              config_shown(c, "controller.listener.names"),
                              only->name));
    if (!c->is_broker) {
        c->inter_broker_listener =
            by_name ? upper(config_text(c, key)) : xstrdup("");
        return ERR_NONE;
    }
    if (count == 0)
        return fail(why,
                    xasprintf("listeners=%.*s: a broker needs a listener for "
                              "clients besides those in "
                              "controller.listener.names=%s; add "
                              "PLAINTEXT://:9092",
                              SLICE_FMT(config_text(c, "listeners")),
                              config_shown(c, "controller.listener.names")));
    struct slice wanted = by_name ? config_text(c, key)
                                  : config_text(c, "security.inter.broker."
                                                   "protocol");
    char *name = upper(wanted);
    const struct server_listener *l = server_config_advertised(c, name);

    free(name);
    if (l != NULL && l->is_controller)
        return fail(why, xasprintf("%s=%s is a listener of the controllers: "
                                   "brokers talk to each other on another one",
                                   key, config_shown(c, key)));
    if (l == NULL && !by_name && count == 1)
        l = only;
    if (l == NULL)
        return fail(why,
                    xasprintf("inter.broker.listener.name=%s is no "
                              "advertised listener: set it to one, such "
                              "as %s",
                              config_shown(c, "inter.broker.listener.name"),
                              only->name));
    c->inter_broker_listener = xstrdup(l->name);
    return ERR_NONE;
}

enum err config_read_listeners(struct server_config *c, const char *host_name,
                               char **why)
{
    if (config_text(c, "controller.listener.names").len == 0)
        return fail(why, xstrdup("controller.listener.names is not given: "
                                 "name the listener of the controllers, such "
                                 "as CONTROLLER"));
    enum err error = check_protocol_map(c, why);

    if (error == ERR_NONE)
        error = read_sockets(c, why);
    if (error == ERR_NONE)
        error = read_controller_listener(c, why);
    if (error == ERR_NONE)
        error = read_advertised(c, host_name, why);
    if (error == ERR_NONE)
        error = read_inter_broker_listener(c, why);
    return error;
}
