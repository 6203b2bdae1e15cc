/* Binary heap of timers, ordered by deadline and, among equals, by the order
 * of insertion.  Intrusive: the caller embeds the node.  O(log n). */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;   /* milliseconds, smallest first */
    uint64_t turn; /* insertion order, breaks ties */
    size_t index;  /* position + 1 in the heap; 0: not in it */
};

struct heap {
    struct heap_node **nodes; /* owned array of borrowed nodes */
    size_t len;
    size_t cap;
    uint64_t turns;
};

#define HEAP_ENTRY(node, type, member)                                         \
    ((type *)(void *)((char *)(node) - offsetof(type, member)))

void heap_free(struct heap *h);
/* Inserts, or moves a node that is already in. */
void heap_set(struct heap *h, struct heap_node *node, int64_t key);
/* Harmless for a node that is not in. */
void heap_remove(struct heap *h, struct heap_node *node);

static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->len != 0 ? h->nodes[0] : NULL;
}

static inline bool heap_has(const struct heap_node *node)
{
    return node->index != 0;
}

#endif
