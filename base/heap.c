#include "base/heap.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

void heap_free(struct heap *h)
{
    for (size_t i = 0; i < h->len; i++)
        h->nodes[i]->index = 0;
    free(h->nodes);
    *h = (struct heap){0};
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->turn < b->turn;
}

static void place(struct heap *h, struct heap_node *node, size_t at)
{
    h->nodes[at] = node;
    node->index = at + 1;
}

static void sift_up(struct heap *h, struct heap_node *node, size_t at)
{
    while (at > 0 && before(node, h->nodes[(at - 1) / 2])) {
        place(h, h->nodes[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(h, node, at);
}

static void sift_down(struct heap *h, struct heap_node *node, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < h->len; at = child) {
        if (child + 1 < h->len && before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (!before(h->nodes[child], node))
            break;
        place(h, h->nodes[child], at);
    }
    place(h, node, at);
}

void heap_set(struct heap *h, struct heap_node *node, int64_t key)
{
    heap_remove(h, node);
    if (h->len == h->cap) {
        h->cap = h->cap != 0 ? h->cap * 2 : 16;
        h->nodes = xrealloc(h->nodes, h->cap * sizeof *h->nodes);
    }
    node->key = key;
    node->turn = h->turns++;
    h->len++;
    sift_up(h, node, h->len - 1);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (node->index == 0)
        return;
    size_t at = node->index - 1;
    ASSERT(at < h->len && h->nodes[at] == node);
    struct heap_node *last = h->nodes[--h->len];
    node->index = 0;
    if (last == node)
        return;
    if (at > 0 && before(last, h->nodes[(at - 1) / 2]))
        sift_up(h, last, at);
    else
        sift_down(h, last, at);
}
