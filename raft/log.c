/* One allocation for each entry, found by index in an array of pointers.
 * Dropping a prefix only moves `head`; the array is shifted when more than half
 * of it is unused. */
#include "raft/log.h"

#include <stdlib.h>

struct raft_log_slot {
    uint64_t term;
    uint64_t seq;
    enum raft_entry_type type;
    size_t len;
    uint8_t data[];
};

static struct raft_log_slot *slot_at(const struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->base_index && index <= raft_log_last(log));
    return log->slots[log->head + (size_t)(index - log->base_index - 1)];
}

void raft_log_free(struct raft_log *log)
{
    for (size_t i = 0; i < log->len; i++)
        free(log->slots[log->head + i]);
    free(log->slots);
    *log = RAFT_LOG_INIT;
}

uint64_t raft_log_last(const struct raft_log *log)
{
    return log->base_index + log->len;
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index)
{
    if (index == log->base_index)
        return log->base_term;
    if (index < log->base_index || index > raft_log_last(log))
        return 0;
    return slot_at(log, index)->term;
}

struct raft_entry raft_log_get(const struct raft_log *log, uint64_t index)
{
    const struct raft_log_slot *slot = slot_at(log, index);

    return (struct raft_entry){
        .index = index,
        .term = slot->term,
        .type = slot->type,
        .data = slice_of(slot->data, slot->len),
    };
}

uint64_t raft_log_seq(const struct raft_log *log, uint64_t index)
{
    return slot_at(log, index)->seq;
}

static void make_room(struct raft_log *log)
{
    if (log->head + log->len < log->cap)
        return;
    if (log->head > log->len) {
        memmove(log->slots, log->slots + log->head,
                log->len * sizeof(struct raft_log_slot *));
        log->head = 0;
        return;
    }
    log->cap = log->cap != 0 ? log->cap * 2 : 64;
    log->slots =
        xrealloc(log->slots, log->cap * sizeof(struct raft_log_slot *));
}

void raft_log_append(struct raft_log *log, struct raft_entry entry,
                     uint64_t seq)
{
    struct raft_log_slot *slot = xmalloc(sizeof *slot + entry.data.len);

    ASSERT(entry.index == raft_log_last(log) + 1);
    ASSERT(entry.term >= raft_log_last_term(log));
    slot->term = entry.term;
    slot->seq = seq;
    slot->type = entry.type;
    slot->len = entry.data.len;
    if (entry.data.len != 0)
        memcpy(slot->data, entry.data.data, entry.data.len);
    make_room(log);
    log->slots[log->head + log->len++] = slot;
    log->size_bytes += slot->len;
}

static void drop(struct raft_log *log, size_t position)
{
    log->size_bytes -= log->slots[position]->len;
    free(log->slots[position]);
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
    ASSERT(from > log->base_index);
    while (raft_log_last(log) >= from) {
        log->len--;
        drop(log, log->head + log->len);
    }
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
    uint64_t term = raft_log_term(log, index);

    ASSERT(index >= log->base_index && index <= raft_log_last(log));
    while (log->base_index < index) {
        drop(log, log->head);
        log->head++;
        log->len--;
        log->base_index++;
    }
    log->base_term = term;
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term)
{
    raft_log_free(log);
    log->base_index = index;
    log->base_term = term;
}
