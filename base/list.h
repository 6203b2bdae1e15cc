/* Intrusive doubly linked list.  The head is a node of its own; an unlinked
 * node points to itself, so list_remove() is safe to repeat. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

#define LIST_ENTRY(node, type, member)                                         \
    ((type *)(void *)((char *)(node) - offsetof(type, member)))
#define LIST_EACH(node, head)                                                  \
    for (struct list *node = (head)->next; node != (head); node = node->next)
/* The body may remove `node`. */
#define LIST_EACH_SAFE(node, tmp, head)                                        \
    for (struct list *node = (head)->next, *tmp = node->next; node != (head);  \
         node = tmp, tmp = node->next)

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* True for a node that is in no list. */
static inline bool list_unlinked(const struct list *node)
{
    return node->next == node;
}

static inline void list_insert_after(struct list *at, struct list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_after(head->prev, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_after(head, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`; `from` becomes empty. */
static inline void list_append_all(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
