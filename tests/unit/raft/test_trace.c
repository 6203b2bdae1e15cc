/* Whole conversations, compared with tests/trace/raft/NAME.txt.  After a change
 * that is meant: LEAT_TRACE_REWRITE=1 test_raft_trace, then read the diff. */
#include "tests/unit/raft/lab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct lab lab;
static struct buf trace;

static void say(const char *what) { buf_printf(&trace, "--- %s\n", what); }

static void compare(const char *name)
{
    char *path = xasprintf("%s/%s.txt", TRACE_DIR, name);
    struct buf expected = BUF_INIT;
    FILE *file;

    if (getenv("LEAT_TRACE_REWRITE") != NULL) {
        file = fopen(path, "w");
        cr_assert_not_null(file, "%s", path);
        fwrite(trace.data, 1, trace.len, file);
        fclose(file);
    }
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    for (size_t n = 1; n != 0;) {
        uint8_t *room = buf_extend(&expected, 4096);

        n = fread(room, 1, 4096, file);
        expected.len -= 4096 - n;
    }
    fclose(file);
    cr_assert(slice_eq(buf_slice(&expected), buf_slice(&trace)),
              "%s differs.  What happened:\n%.*s", path,
              SLICE_FMT(buf_slice(&trace)));
    buf_free(&expected);
    buf_free(&trace);
    free(path);
    lab_free(&lab);
}

Test(trace, election)
{
    lab_init(&lab, 3);
    lab.trace = &trace;
    say("cold start");
    lab_run(&lab, 100);
    int32_t old = lab_leader(&lab);
    say("a proposal");
    lab_propose(&lab, old, "x");
    lab_deliver(&lab);
    say("the leader's process is killed");
    lab_isolate(&lab, old, true);
    for (int32_t id = 1; id <= 3; id++)
        if (id != old)
            lab_event(&lab, id,
                      (struct raft_event){.type = RAFT_PEER_LOST, .peer = old});
    lab_run(&lab, 100);
    compare("election");
}

Test(trace, repair)
{
    static const uint64_t good[] = {1, 1, 4, 4}, stale[] = {1, 1, 2, 2, 2};

    lab = (struct lab){.now_ms = 1000, .prng = {7}};
    lab_node_with_log(&lab, 1, 3, 4, RAFT_ID_NONE, good, 4);
    lab_node_with_log(&lab, 2, 3, 4, RAFT_ID_NONE, good, 4);
    lab_node_with_log(&lab, 3, 3, 4, RAFT_ID_NONE, stale, 5);
    for (int32_t id = 1; id <= 3; id++)
        lab_event(&lab, id, (struct raft_event){.type = RAFT_START});
    lab.trace = &trace;
    say("node 3 has entries that nobody committed");
    lab_elect(&lab, 1);
    compare("repair");
}

Test(trace, image)
{
    lab_init(&lab, 2);
    lab_elect(&lab, 1);
    lab_change(&lab, 1, RAFT_ADD_LEARNER, 3);
    lab_deliver(&lab);
    for (int i = 0; i < 5; i++)
        lab_propose(&lab, 1, "x");
    lab_deliver(&lab);
    lab_event(&lab, 1,
              (struct raft_event){.type = RAFT_COMPACT,
                                  .index = lab_core(&lab, 1)->applied});
    lab.trace = &trace;
    say("a learner comes, and the entries it needs are gone");
    lab_add_outsider(&lab, 3, 2);
    lab_run(&lab, 320);
    compare("image");
}
