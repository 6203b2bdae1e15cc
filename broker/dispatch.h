/* Which function answers which API: the one list of handlers.
 *
 * A handler starts on the request's home shard, with the request decoded, and
 * answers it now or later (broker/request.h). */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include "broker/request.h"

/* isolation_level of Fetch and ListOffsets. */
enum isolation { READ_UNCOMMITTED, READ_COMMITTED };

void dispatch(struct request *r);
/* Whether there is a handler; an API without one is not advertised. */
bool dispatch_serves(int16_t api_key);
/* ApiVersions in a version we lack: version 0, error 35, and the ranges. */
void dispatch_api_versions_unsupported(struct request *r);

/* ---- handlers, by file ----------------------------------------------------
 */

/* api_produce.c */
void api_produce(struct request *r);
/* api_fetch.c */
void api_fetch(struct request *r);
/* api_offsets.c */
void api_list_offsets(struct request *r);
void api_offset_for_leader_epoch(struct request *r);
void api_delete_records(struct request *r);
void api_alter_replica_log_dirs(struct request *r);
void api_describe_log_dirs(struct request *r);
/* api_markers.c */
void api_write_txn_markers(struct request *r);
/* api_producers.c */
void api_describe_producers(struct request *r);
/* api_txn.c */
void api_txn_request(struct request *r);
/* api_share.c */
void api_share_fetch(struct request *r);
void api_share_acknowledge(struct request *r);
/* api_share_state.c */
void api_share_state(struct request *r);
/* api_groups.c */
void api_group_request(struct request *r);
/* api_metadata.c, on the metadata thread */
void api_metadata(struct request *r);
void api_find_coordinator(struct request *r);
void api_describe_cluster(struct request *r);
void api_describe_topic_partitions(struct request *r);
void api_init_producer_id(struct request *r);
/* api_configs.c, on the metadata thread */
void api_describe_client_quotas(struct request *r);
void api_describe_configs(struct request *r);
void api_list_config_resources(struct request *r);
/* api_loggers.c, on the metadata thread */
void api_incremental_alter_configs(struct request *r);
/* api_forward.c, on the metadata thread: what only the active controller may
 * answer */
void api_forward(struct request *r);
/* With another body, which is copied; `answered` gets that of the answer,
 * borrowed, and answers the request.  If there is none all of the request is
 * answered with an error. */
void api_forward_body(struct request *r, struct slice body,
                      void (*answered)(struct request *r, struct slice body));

#endif
