/* Raft's persistent state in a kv of its own: term and vote, log entries, the
 * configuration behind the log, the identity of an image being installed.
 *
 * Keys, values big-endian; each value ends with the CRC-32C of key and value:
 *   "b"          base: log.base_index, base_term, config index, configuration
 *   "e" index    entry: term, type, payload
 *   "i"          incoming image: index, term, config index, configuration
 *   "v"          vote: term, vote
 *
 * Group commit: one write is on its way at a time, on a helper thread, synced.
 * What is added meanwhile goes together with the next one.
 *
 * Thread: raft_store_load blocks and may run anywhere before the store is
 * opened; everything else on the loop. */
#ifndef RAFT_STORE_H
#define RAFT_STORE_H

#include "raft/raft.h"

struct env;
struct kv;
struct raft_store;

/* Reads everything back and checks it: checksums, no gap, terms in order, the
 * log reaches the owner's image.  An empty kv starts with `initial` before the
 * first entry.  `applied_index` and `applied_term` are those of the owner's
 * durable image (0, 0: none); if a crash came between the installation of an
 * image and the reset of the log, the reset is done now.
 *
 * 0 and *stored (for raft_init, which takes it over), or a negative errno
 * (-EBADMSG: damaged) and a sentence that names `name`, the place and the
 * remedy, freed by the caller. */
int raft_store_load(struct kv *kv, const char *name,
                    const struct raft_config *initial, uint64_t applied_index,
                    uint64_t applied_term, struct raft_stored *stored,
                    char **why);

struct raft_store_options {
    struct env *env;
    struct kv *kv; /* borrowed until raft_store_close is through */
    /* Writes up to seq are durable. */
    void (*persisted)(void *arg, uint64_t seq);
    /* A write failed with this negative errno; nothing more is written before
     * raft_store_retry(). */
    void (*failed)(void *arg, int error);
    void *arg;
};

struct raft_store *raft_store_open(const struct raft_store_options *options);
/* Adds what the update asks to persist; copies, so the log may change. */
void raft_store_add(struct raft_store *s, const struct raft *r,
                    const struct raft_update *u);
/* Starts a write if something waits and none is running. */
void raft_store_flush(struct raft_store *s);
/* Tries the failed write, and what came behind it, again. */
void raft_store_retry(struct raft_store *s);
/* Bytes that wait for the disk. */
size_t raft_store_waiting_bytes(const struct raft_store *s);
/* No callback comes any more but closed(arg), after a running write has
 * ended; never from inside this call.  What waits is not written. */
void raft_store_close(struct raft_store *s, void (*closed)(void *arg),
                      void *arg);

#endif
