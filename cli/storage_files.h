/* What `storage` does to directories, for both of its front ends.  Blocking. */
#ifndef CLI_STORAGE_FILES_H
#define CLI_STORAGE_FILES_H

#include "base/meta_properties.h"

#include <stdio.h>

/* The metadata version that we say we format with: Kafka's name for the
 * features we have. */
#define STORAGE_METADATA_VERSION "4.3-IV0"

/* What formatting needs to know of a server's configuration file. */
struct storage_config {
    bool is_controller;
    int32_t node_id;
    bool has_voters; /* controller.quorum.voters is given */
    char *metadata_dir;
    char **dirs; /* sorted, the metadata directory among them */
    size_t dirs_len;
    char *controller_listener; /* its name; NULL: there is none */
    char *controller_host;     /* advertised; "localhost" if no host is given */
    int controller_port;       /* 0: no controller listener found */
};

/* ERR_NONE, or a sentence in *why that the caller frees. */
enum err storage_config_read(const char *path, struct storage_config *c,
                             char **why);
void storage_config_free(struct storage_config *c);

struct storage_format {
    const char *cluster_id;
    bool ignore_formatted;
    bool standalone;                 /* this node is the first voter */
    bool no_initial_controllers;     /* it will join voters that exist */
    const char *initial_controllers; /* id@host:port:directory,...; or NULL */
};

/* Formats what is not formatted, telling each directory on `out`. */
enum err storage_format_run(const struct storage_config *c,
                            const struct storage_format *f, FILE *out,
                            char **why);

struct uuid storage_random_uuid(void);

/* The id of the metadata directory, which has to be formatted. */
enum err storage_directory_id(const struct storage_config *c, struct uuid *id,
                              char **why);

#endif
