/* Many seeds, each a cluster under faults (sim.h).  To see one seed again:
 *
 *     LEAT_SIM_SEED=17 LEAT_SIM_COUNT=1 test_raft_sim */
#include "tests/unit/raft/sim.h"

#include "raft/raft.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAULT_MS = 15000 };

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

Test(sim, no_seed_violates_anything_and_every_cluster_recovers)
{
    uint64_t first = number("LEAT_SIM_SEED", 1);
    uint64_t count = number("LEAT_SIM_COUNT", 500);
    struct sim_result sum = {0};

    for (uint64_t seed = first; seed < first + count; seed++) {
        struct sim_options o = {.seed = seed, .fault_ms = FAULT_MS};
        struct sim_result result;

        sim_run(&o, &result);
        cr_assert_null(result.violation, "%s", result.violation);
        sum.committed += result.committed;
        sum.terms += result.terms;
        sum.crashes += result.crashes;
        sum.images += result.images;
        sum.changes += result.changes;
    }
    printf("sim: %llu seeds, %llu entries, %llu leaders, %llu crashes, %llu "
           "images, %llu membership changes\n",
           (unsigned long long)count, (unsigned long long)sum.committed,
           (unsigned long long)sum.terms, (unsigned long long)sum.crashes,
           (unsigned long long)sum.images, (unsigned long long)sum.changes);
    /* A simulator in which nothing happens finds nothing. */
    cr_assert_gt(sum.committed, 50 * count);
    cr_assert_gt(sum.terms, 3 * count);
    cr_assert_gt(sum.crashes, 3 * count);
    cr_assert_gt(sum.images, count / 4);
    cr_assert_gt(sum.changes, count / 2);
}

Test(sim, a_seed_runs_alike_every_time)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct sim_options o = {.seed = seed, .fault_ms = FAULT_MS};
        struct sim_result a, b;

        sim_run(&o, &a);
        sim_run(&o, &b);
        cr_assert_eq(a.hash, b.hash);
        cr_assert_eq(a.committed, b.committed);
        cr_assert_eq(a.terms, b.terms);
    }
}

/* In a process of its own, since an assertion of the core may find the bug
 * first.  The number of the seed that found it, or 0. */
static uint64_t seed_that_finds(enum planted planted, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        int status;
        pid_t child = fork();

        if (child == 0) {
            struct sim_options o = {
                .seed = seed, .planted = planted, .fault_ms = FAULT_MS};
            struct sim_result result;

            fclose(stderr);
            sim_run(&o, &result);
            if (result.violation != NULL)
                printf("sim: %s\n", result.violation);
            fflush(stdout);
            _exit(result.violation != NULL);
        }
        cr_assert_gt(child, 0);
        cr_assert_eq(waitpid(child, &status, 0), child);
        if (status != 0)
            return seed;
    }
    return 0;
}

static void expect_found(enum planted planted, const char *name)
{
    uint64_t seed = seed_that_finds(planted, number("LEAT_SIM_PLANTED", 2000));

    printf("sim: %s found by seed %llu\n", name, (unsigned long long)seed);
    cr_assert_neq(seed, 0, "%s was not found", name);
}

Test(sim, finds_votes_that_are_not_durable)
{
    expect_found(PLANTED_RAFT_VOTES_UNPERSISTED, "votes unpersisted");
}

Test(sim, finds_acknowledgements_of_what_is_not_durable)
{
    expect_found(PLANTED_RAFT_ACKS_UNPERSISTED, "acks unpersisted");
}

Test(sim, finds_acknowledgements_of_what_was_not_compared)
{
    expect_found(PLANTED_RAFT_ACKS_UNCOMPARED, "acks uncompared");
}

Test(sim, finds_commits_of_what_was_not_compared)
{
    expect_found(PLANTED_RAFT_COMMITS_UNCOMPARED, "commits uncompared");
}

Test(sim, finds_votes_for_candidates_that_lack_entries)
{
    expect_found(PLANTED_RAFT_VOTES_FOR_ANYBODY, "votes for anybody");
}

Test(sim, finds_appends_that_do_not_compare_terms)
{
    expect_found(PLANTED_RAFT_SKIPS_LOG_MATCHING, "no log matching");
}

Test(sim, finds_old_terms_committed_by_counting)
{
    expect_found(PLANTED_RAFT_COMMITS_OLD_TERMS, "old terms committed");
}

Test(sim, finds_membership_changes_that_overlap)
{
    expect_found(PLANTED_RAFT_CHANGES_TOO_EARLY, "overlapping changes");
}
