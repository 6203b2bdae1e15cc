/* The uniform assignor for members with one subscription.
 *
 * Of P partitions and M members each gets P / M, and P % M members one more.
 * Those that have more than P / M already are the first to keep one more, so no
 * partition moves that need not; Kafka takes members in the order of a hash
 * table.  What is above a member's quota goes, highest first, and the members
 * below theirs are filled up in the order of their ids. */
#include "broker/coord/consumer/assign.h"

struct quotas {
    uint32_t each;
    uint32_t extra;  /* members that may have one more */
    uint32_t *of;    /* of each member */
    uint32_t *slots; /* of the partitions nobody has */
    uint32_t slots_len;
};

static void set_quotas(const struct assign_work *work, struct quotas *q)
{
    uint32_t members = work->input->members_len;

    for (uint32_t i = 0; i < members; i++) {
        uint32_t m = work->by_id[i];
        bool more = q->extra > 0 && work->load[m] > q->each;

        q->of[m] = q->each + more;
        q->extra -= more;
    }
    for (uint32_t i = 0; i < members && q->extra > 0; i++) {
        uint32_t m = work->by_id[i];

        if (q->of[m] == q->each) {
            q->of[m]++;
            q->extra--;
        }
    }
}

static void take_back(struct assign_work *work, const struct quotas *q)
{
    const uint32_t *first = work->first;

    for (uint32_t s = first[work->input->topics_len]; s-- > 0;) {
        int32_t m = work->owner[s];

        if (m >= 0 && work->load[m] > q->of[m])
            assign_give(work, s, -1);
    }
}

/* All members subscribe to what the first does. */
static void find_free(const struct assign_work *work, struct quotas *q)
{
    const struct assign_member *any = &work->input->members[0];

    for (uint32_t i = 0; i < any->topics_len; i++) {
        uint32_t t = any->topics[i];

        for (uint32_t s = work->first[t]; s < work->first[t + 1]; s++)
            if (work->owner[s] < 0)
                q->slots[q->slots_len++] = s;
    }
}

static void fill_up(struct assign_work *work, const struct quotas *q)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < work->input->members_len; i++) {
        uint32_t m = work->by_id[i];

        while (work->load[m] < q->of[m] && next < q->slots_len)
            assign_give(work, q->slots[next++], (int32_t)m);
    }
    ASSERT(next == q->slots_len);
}

static void spread(struct assign_work *work)
{
    const struct assign_input *input = work->input;
    const struct assign_member *any = &input->members[0];
    struct quotas q = {0};
    uint32_t total = 0;

    for (uint32_t i = 0; i < any->topics_len; i++)
        total += (uint32_t)input->topics[any->topics[i]].partitions;
    q.each = total / input->members_len;
    q.extra = total % input->members_len;
    q.of = arena_array(work->arena, input->members_len, sizeof *q.of);
    q.slots = arena_array(work->arena, total, sizeof *q.slots);
    set_quotas(work, &q);
    take_back(work, &q);
    find_free(work, &q);
    fill_up(work, &q);
}

void assign_uniform(const struct assign_input *input, struct arena *arena,
                    struct parts *out)
{
    struct assign_work work;

    if (input->members_len == 0)
        return;
    assign_begin(&work, input, arena);
    assign_keep(&work);
    if (work.equal)
        spread(&work);
    else
        assign_uniform_mixed(&work);
    assign_end(&work, out);
}
