/* Every error, once: our name, Kafka's code, whether a client may retry, and
 * the sentence a person reads.
 *
 * Codes -1..133 are Kafka's and go on the wire as they are.  Codes from 1000
 * on are ours, never leave the process, and are mapped by err_wire(). */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

/* X(name, code, retriable, text) */
#define ERR_TABLE(X)                                                           \
    X(UNKNOWN_SERVER_ERROR, -1, 0, "unknown server error") \
    X(NONE, 0, 0, "none") \
    X(OFFSET_OUT_OF_RANGE, 1, 0, "offset out of range") \
    X(CORRUPT_MESSAGE, 2, 1, "corrupt message") \
    X(UNKNOWN_TOPIC_OR_PARTITION, 3, 1, "unknown topic or partition") \
    X(INVALID_FETCH_SIZE, 4, 0, "invalid fetch size") \
    X(LEADER_NOT_AVAILABLE, 5, 1, "leader not available") \
    X(NOT_LEADER_OR_FOLLOWER, 6, 1, "not leader or follower") \
    X(REQUEST_TIMED_OUT, 7, 1, "request timed out") \
    X(BROKER_NOT_AVAILABLE, 8, 0, "broker not available") \
    X(REPLICA_NOT_AVAILABLE, 9, 1, "replica not available") \
    X(MESSAGE_TOO_LARGE, 10, 0, "message too large") \
    X(STALE_CONTROLLER_EPOCH, 11, 0, "stale controller epoch") \
    X(OFFSET_METADATA_TOO_LARGE, 12, 0, "offset metadata too large") \
    X(NETWORK_EXCEPTION, 13, 1, "network exception") \
    X(COORDINATOR_LOAD_IN_PROGRESS, 14, 1, "coordinator load in progress") \
    X(COORDINATOR_NOT_AVAILABLE, 15, 1, "coordinator not available") \
    X(NOT_COORDINATOR, 16, 1, "not coordinator") \
    X(INVALID_TOPIC_EXCEPTION, 17, 0, "invalid topic exception") \
    X(RECORD_LIST_TOO_LARGE, 18, 0, "record list too large") \
    X(NOT_ENOUGH_REPLICAS, 19, 1, "not enough replicas") \
    X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, 1, "not enough replicas after append") \
    X(INVALID_REQUIRED_ACKS, 21, 0, "invalid required acks") \
    X(ILLEGAL_GENERATION, 22, 0, "illegal generation") \
    X(INCONSISTENT_GROUP_PROTOCOL, 23, 0, "inconsistent group protocol") \
    X(INVALID_GROUP_ID, 24, 0, "invalid group id") \
    X(UNKNOWN_MEMBER_ID, 25, 0, "unknown member id") \
    X(INVALID_SESSION_TIMEOUT, 26, 0, "invalid session timeout") \
    X(REBALANCE_IN_PROGRESS, 27, 0, "rebalance in progress") \
    X(INVALID_COMMIT_OFFSET_SIZE, 28, 0, "invalid commit offset size") \
    X(TOPIC_AUTHORIZATION_FAILED, 29, 0, "topic authorization failed") \
    X(GROUP_AUTHORIZATION_FAILED, 30, 0, "group authorization failed") \
    X(CLUSTER_AUTHORIZATION_FAILED, 31, 0, "cluster authorization failed") \
    X(INVALID_TIMESTAMP, 32, 0, "invalid timestamp") \
    X(UNSUPPORTED_SASL_MECHANISM, 33, 0, "unsupported sasl mechanism") \
    X(ILLEGAL_SASL_STATE, 34, 0, "illegal sasl state") \
    X(UNSUPPORTED_VERSION, 35, 0, "unsupported version") \
    X(TOPIC_ALREADY_EXISTS, 36, 0, "topic already exists") \
    X(INVALID_PARTITIONS, 37, 0, "invalid partitions") \
    X(INVALID_REPLICATION_FACTOR, 38, 0, "invalid replication factor") \
    X(INVALID_REPLICA_ASSIGNMENT, 39, 0, "invalid replica assignment") \
    X(INVALID_CONFIG, 40, 0, "invalid config") \
    X(NOT_CONTROLLER, 41, 1, "not controller") \
    X(INVALID_REQUEST, 42, 0, "invalid request") \
    X(UNSUPPORTED_FOR_MESSAGE_FORMAT, 43, 0, "unsupported for message format") \
    X(POLICY_VIOLATION, 44, 0, "policy violation") \
    X(OUT_OF_ORDER_SEQUENCE_NUMBER, 45, 0, "out of order sequence number") \
    X(DUPLICATE_SEQUENCE_NUMBER, 46, 0, "duplicate sequence number") \
    X(INVALID_PRODUCER_EPOCH, 47, 0, "invalid producer epoch") \
    X(INVALID_TXN_STATE, 48, 0, "invalid txn state") \
    X(INVALID_PRODUCER_ID_MAPPING, 49, 0, "invalid producer id mapping") \
    X(INVALID_TRANSACTION_TIMEOUT, 50, 0, "invalid transaction timeout") \
    X(CONCURRENT_TRANSACTIONS, 51, 1, "concurrent transactions") \
    X(TRANSACTION_COORDINATOR_FENCED, 52, 0, "transaction coordinator fenced") \
    X(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 53, 0, "transactional id authorization failed") \
    X(SECURITY_DISABLED, 54, 0, "security disabled") \
    X(OPERATION_NOT_ATTEMPTED, 55, 0, "operation not attempted") \
    X(KAFKA_STORAGE_ERROR, 56, 1, "kafka storage error") \
    X(LOG_DIR_NOT_FOUND, 57, 0, "log dir not found") \
    X(SASL_AUTHENTICATION_FAILED, 58, 0, "sasl authentication failed") \
    X(UNKNOWN_PRODUCER_ID, 59, 0, "unknown producer id") \
    X(REASSIGNMENT_IN_PROGRESS, 60, 0, "reassignment in progress") \
    X(DELEGATION_TOKEN_AUTH_DISABLED, 61, 0, "delegation token auth disabled") \
    X(DELEGATION_TOKEN_NOT_FOUND, 62, 0, "delegation token not found") \
    X(DELEGATION_TOKEN_OWNER_MISMATCH, 63, 0, "delegation token owner mismatch") \
    X(DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, 64, 0, "delegation token request not allowed") \
    X(DELEGATION_TOKEN_AUTHORIZATION_FAILED, 65, 0, "delegation token authorization failed") \
    X(DELEGATION_TOKEN_EXPIRED, 66, 0, "delegation token expired") \
    X(INVALID_PRINCIPAL_TYPE, 67, 0, "invalid principal type") \
    X(NON_EMPTY_GROUP, 68, 0, "non empty group") \
    X(GROUP_ID_NOT_FOUND, 69, 0, "group id not found") \
    X(FETCH_SESSION_ID_NOT_FOUND, 70, 1, "fetch session id not found") \
    X(INVALID_FETCH_SESSION_EPOCH, 71, 1, "invalid fetch session epoch") \
    X(LISTENER_NOT_FOUND, 72, 1, "listener not found") \
    X(TOPIC_DELETION_DISABLED, 73, 0, "topic deletion disabled") \
    X(FENCED_LEADER_EPOCH, 74, 1, "fenced leader epoch") \
    X(UNKNOWN_LEADER_EPOCH, 75, 1, "unknown leader epoch") \
    X(UNSUPPORTED_COMPRESSION_TYPE, 76, 0, "unsupported compression type") \
    X(STALE_BROKER_EPOCH, 77, 0, "stale broker epoch") \
    X(OFFSET_NOT_AVAILABLE, 78, 1, "offset not available") \
    X(MEMBER_ID_REQUIRED, 79, 0, "member id required") \
    X(PREFERRED_LEADER_NOT_AVAILABLE, 80, 1, "preferred leader not available") \
    X(GROUP_MAX_SIZE_REACHED, 81, 0, "group max size reached") \
    X(FENCED_INSTANCE_ID, 82, 0, "fenced instance id") \
    X(ELIGIBLE_LEADERS_NOT_AVAILABLE, 83, 1, "eligible leaders not available") \
    X(ELECTION_NOT_NEEDED, 84, 1, "election not needed") \
    X(NO_REASSIGNMENT_IN_PROGRESS, 85, 0, "no reassignment in progress") \
    X(GROUP_SUBSCRIBED_TO_TOPIC, 86, 0, "group subscribed to topic") \
    X(INVALID_RECORD, 87, 0, "invalid record") \
    X(UNSTABLE_OFFSET_COMMIT, 88, 1, "unstable offset commit") \
    X(THROTTLING_QUOTA_EXCEEDED, 89, 1, "throttling quota exceeded") \
    X(PRODUCER_FENCED, 90, 0, "producer fenced") \
    X(RESOURCE_NOT_FOUND, 91, 0, "resource not found") \
    X(DUPLICATE_RESOURCE, 92, 0, "duplicate resource") \
    X(UNACCEPTABLE_CREDENTIAL, 93, 0, "unacceptable credential") \
    X(INCONSISTENT_VOTER_SET, 94, 0, "inconsistent voter set") \
    X(INVALID_UPDATE_VERSION, 95, 0, "invalid update version") \
    X(FEATURE_UPDATE_FAILED, 96, 0, "feature update failed") \
    X(PRINCIPAL_DESERIALIZATION_FAILURE, 97, 0, "principal deserialization failure") \
    X(SNAPSHOT_NOT_FOUND, 98, 0, "snapshot not found") \
    X(POSITION_OUT_OF_RANGE, 99, 0, "position out of range") \
    X(UNKNOWN_TOPIC_ID, 100, 1, "unknown topic id") \
    X(DUPLICATE_BROKER_REGISTRATION, 101, 0, "duplicate broker registration") \
    X(BROKER_ID_NOT_REGISTERED, 102, 0, "broker id not registered") \
    X(INCONSISTENT_TOPIC_ID, 103, 1, "inconsistent topic id") \
    X(INCONSISTENT_CLUSTER_ID, 104, 0, "inconsistent cluster id") \
    X(TRANSACTIONAL_ID_NOT_FOUND, 105, 0, "transactional id not found") \
    X(FETCH_SESSION_TOPIC_ID_ERROR, 106, 1, "fetch session topic id error") \
    X(INELIGIBLE_REPLICA, 107, 0, "ineligible replica") \
    X(NEW_LEADER_ELECTED, 108, 0, "new leader elected") \
    X(OFFSET_MOVED_TO_TIERED_STORAGE, 109, 0, "offset moved to tiered storage") \
    X(FENCED_MEMBER_EPOCH, 110, 0, "fenced member epoch") \
    X(UNRELEASED_INSTANCE_ID, 111, 0, "unreleased instance id") \
    X(UNSUPPORTED_ASSIGNOR, 112, 0, "unsupported assignor") \
    X(STALE_MEMBER_EPOCH, 113, 0, "stale member epoch") \
    X(MISMATCHED_ENDPOINT_TYPE, 114, 0, "mismatched endpoint type") \
    X(UNSUPPORTED_ENDPOINT_TYPE, 115, 0, "unsupported endpoint type") \
    X(UNKNOWN_CONTROLLER_ID, 116, 0, "unknown controller id") \
    X(UNKNOWN_SUBSCRIPTION_ID, 117, 0, "unknown subscription id") \
    X(TELEMETRY_TOO_LARGE, 118, 0, "telemetry too large") \
    X(INVALID_REGISTRATION, 119, 0, "invalid registration") \
    X(TRANSACTION_ABORTABLE, 120, 0, "transaction abortable") \
    X(INVALID_RECORD_STATE, 121, 0, "invalid record state") \
    X(SHARE_SESSION_NOT_FOUND, 122, 1, "share session not found") \
    X(INVALID_SHARE_SESSION_EPOCH, 123, 1, "invalid share session epoch") \
    X(FENCED_STATE_EPOCH, 124, 0, "fenced state epoch") \
    X(INVALID_VOTER_KEY, 125, 0, "invalid voter key") \
    X(DUPLICATE_VOTER, 126, 0, "duplicate voter") \
    X(VOTER_NOT_FOUND, 127, 0, "voter not found") \
    X(INVALID_REGULAR_EXPRESSION, 128, 0, "invalid regular expression") \
    X(REBOOTSTRAP_REQUIRED, 129, 0, "rebootstrap required") \
    X(STREAMS_INVALID_TOPOLOGY, 130, 0, "streams invalid topology") \
    X(STREAMS_INVALID_TOPOLOGY_EPOCH, 131, 0, "streams invalid topology epoch") \
    X(STREAMS_TOPOLOGY_FENCED, 132, 0, "streams topology fenced") \
    X(SHARE_SESSION_LIMIT_REACHED, 133, 1, "share session limit reached") \
    X(IO, 1000, 1, "the disk returned an error")                               \
    X(FULL, 1001, 1, "the disk is full")                                       \
    X(DAMAGED, 1002, 0, "stored data is damaged")                              \
    X(CLOSED, 1003, 1, "the connection was closed")                            \
    X(TOO_LARGE, 1004, 0, "larger than its limit")                             \
    X(MALFORMED, 1005, 0, "the message cannot be decoded")                     \
    X(EXISTS, 1006, 0, "already exists")                                       \
    X(ABSENT, 1007, 0, "does not exist")                                       \
    X(NOT_LEADER, 1008, 1, "this controller is not the active one")            \
    X(REFUSED, 1009, 1, "the connection was refused")                          \
    X(UNREACHABLE, 1010, 1, "the host cannot be reached")                      \
    X(EXHAUSTED, 1011, 1, "there are no file descriptors or memory left")

enum err {
#define X(name, code, retriable, text) ERR_##name = code,
    ERR_TABLE(X)
#undef X
};

/* "OFFSET_OUT_OF_RANGE"; "UNKNOWN_SERVER_ERROR" for a code not in the table. */
const char *err_name(int code);
/* A lower-case phrase for the middle of a sentence. */
const char *err_text(int code);
bool err_retriable(int code);
/* The code a client may see: ours become the nearest of Kafka's. */
int16_t err_wire(int code);

#endif
