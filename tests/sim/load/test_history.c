/* Each checker with a history that it must refuse and one that it must not. */
#include "tests/sim/load/history.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { TOPIC = 0, PART = 3 };

static struct history *h;

static void begin_with(bool unclean)
{
    struct history_promise promise = {unclean};
    struct uuid id = {{1}};

    h = history_new(&promise);
    cr_assert_eq(history_topic(h, SLICE("orders"), id), TOPIC);
}

static void begin(void) { begin_with(false); }

static void end(void) { history_free(h); }

TestSuite(history, .init = begin, .fini = end);

/* ---- shorthands: producer 0 sends, reader 0 reads, partition 3 ----------- */

static struct history_id id_of(int32_t producer, int64_t number)
{
    return (struct history_id){TOPIC, producer, number};
}

static void send_as(int32_t producer, int64_t number, int acks, int64_t session,
                    int64_t sequence)
{
    struct history_sent s = {
        id_of(producer, number), PART, acks, session, sequence, 1000 + number};
    history_sent(h, &s);
}

static void send_all(int64_t number) { send_as(0, number, -1, -1, -1); }

static void ack(int64_t number, int64_t offset)
{
    history_acked(h, id_of(0, number), offset);
}

static struct history_read read_of(int64_t offset, int64_t number)
{
    return (struct history_read){.topic = TOPIC,
                                 .partition = PART,
                                 .offset = offset,
                                 .leader_epoch = 2,
                                 .timestamp_ms = 1000 + number,
                                 .id = id_of(0, number),
                                 .sound = true};
}

static void read_at(int64_t offset, int64_t number)
{
    struct history_read r = read_of(offset, number);
    history_read(h, &r);
}

static void seek(int64_t offset) { history_seek(h, 0, TOPIC, PART, offset); }

static void finish(int64_t start, const int64_t *numbers, int64_t len)
{
    history_final_start(h);
    seek(start);
    for (int64_t i = 0; i < len; i++)
        read_at(start + i, numbers[i]);
    history_final(h, TOPIC, PART, start, start + len);
    history_judge(h);
}
#define FINISH(start, ...)                                                     \
    finish(start, (int64_t[]){__VA_ARGS__},                                    \
           sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void expect(const char *checker)
{
    const char *sentence;
    const char *got = history_verdict(h, &sentence);

    if (checker == NULL)
        cr_assert_null(got, "%s: %s", got, sentence);
    else
        cr_assert(got != NULL && strcmp(got, checker) == 0,
                  "wanted %s, got %s: %s", checker, got ? got : "nothing",
                  sentence ? sentence : "");
}

/* ---- records ------------------------------------------------------------- */

Test(history, all_is_well)
{
    int64_t s = history_session(h, 0);
    for (int64_t i = 0; i < 4; i++)
        send_as(0, i, -1, s, i);
    for (int64_t i = 0; i < 3; i++)
        ack(i, i);
    history_unknown(h, id_of(0, 3), "timed out");
    seek(0);
    read_at(0, 0);
    read_at(1, 1);
    FINISH(0, 0, 1, 2);
    expect(NULL);
}

Test(history, lost_at_the_end)
{
    send_all(0);
    send_all(1);
    ack(0, 0);
    ack(1, 1);
    FINISH(0, 0);
    expect("lost");
}

Test(history, lost_under_another)
{
    send_all(0);
    send_all(1);
    ack(0, 0);
    seek(0);
    read_at(0, 1);
    expect("lost");
}

Test(history, lost_after_it_was_read)
{
    send_as(0, 0, 1, -1, -1);
    seek(0);
    read_at(0, 0);
    finish(0, NULL, 0);
    expect("lost");
}

Test(history, lost_at_the_start)
{
    send_all(0);
    send_all(1);
    ack(0, 0);
    ack(1, 1);
    FINISH(1, 1);
    expect("lost");
}

Test(history, deleted_is_not_lost)
{
    send_all(0);
    send_all(1);
    ack(0, 0);
    ack(1, 1);
    history_delete_asked(h, TOPIC, PART, 1);
    FINISH(1, 1);
    expect(NULL);
}

Test(history, lost_duplicate)
{
    int64_t s = history_session(h, 0);
    send_as(0, 0, -1, s, 0);
    ack(0, -1);
    finish(0, NULL, 0);
    expect("lost");
}

Test(history, acks_1_may_be_lost)
{
    send_as(0, 0, 1, -1, -1);
    ack(0, 0);
    finish(0, NULL, 0);
    expect(NULL);
}

Test(history, unclean_may_lose)
{
    end();
    begin_with(true);
    send_all(0);
    send_all(1);
    ack(0, 0);
    seek(0);
    read_at(0, 0);
    FINISH(0, 1);
    expect(NULL);
}

Test(history, muted)
{
    history_mute(h, "lost");
    send_all(0);
    ack(0, 0);
    finish(0, NULL, 0);
    expect(NULL);
}

Test(history, duplicate_between_reads)
{
    send_as(0, 0, -1, history_session(h, 0), 0);
    seek(0);
    read_at(0, 0);
    read_at(1, 0);
    expect("duplicate");
}

Test(history, duplicate_of_the_acknowledged)
{
    send_as(0, 0, -1, history_session(h, 0), 0);
    ack(0, 0);
    seek(1);
    read_at(1, 0);
    expect("duplicate");
}

Test(history, duplicate_in_the_final_log)
{
    end();
    begin_with(true);
    send_as(0, 0, -1, history_session(h, 0), 0);
    FINISH(0, 0, 0);
    expect("duplicate");
}

Test(history, duplicate_is_allowed_without_idempotence)
{
    send_all(0);
    ack(0, 1);
    FINISH(0, 0, 0);
    expect(NULL);
}

Test(history, reordered_in_a_session)
{
    int64_t s = history_session(h, 0);
    send_as(0, 0, -1, s, 0);
    send_as(0, 1, -1, s, 1);
    history_mute(h, "skipped");
    FINISH(0, 1, 0);
    expect("reordered");
}

Test(history, order_between_sessions_is_free)
{
    send_as(0, 0, -1, history_session(h, 0), 0);
    history_unknown(h, id_of(0, 0), "timed out");
    send_as(0, 1, -1, history_session(h, 0), 0);
    FINISH(0, 1, 0);
    expect(NULL);
}

Test(history, reordered_against_time)
{
    send_all(0);
    ack(0, 1);
    send_all(1);
    FINISH(0, 1, 0);
    expect("reordered");
}

Test(history, in_flight_together_may_swap)
{
    send_all(0);
    send_all(1);
    ack(0, 1);
    ack(1, 0);
    FINISH(0, 1, 0);
    expect(NULL);
}

Test(history, skipped)
{
    int64_t s = history_session(h, 0);
    for (int64_t i = 0; i < 3; i++)
        send_as(0, i, -1, s, i);
    FINISH(0, 0, 2);
    expect("skipped");
}

/* Record 0 was sent twice; then it is there once. */
Test(history, copies_go_when_compacted)
{
    history_topic_compacted(h, SLICE("orders"));
    send_all(0);
    send_all(1);
    ack(1, 1);
    seek(0);
    read_at(0, 0);
    read_at(1, 1);
    read_at(2, 0);
    history_final_start(h);
    seek(0);
    read_at(1, 1);
    read_at(2, 0);
    history_final(h, TOPIC, PART, 0, 3);
    history_judge(h);
    expect(NULL);
}

Test(history, nothing_else_goes_when_compacted)
{
    history_topic_compacted(h, SLICE("orders"));
    send_all(0);
    send_all(1);
    ack(0, 0);
    ack(1, 1);
    history_final_start(h);
    seek(0);
    read_at(1, 1);
    history_final(h, TOPIC, PART, 0, 2);
    history_judge(h);
    expect("gap");
}

/* The later copy was on nobody but the leader that is gone (seed 924061). */
Test(history, an_unclean_election_takes_the_later_copy)
{
    end();
    begin_with(true);
    history_topic_compacted(h, SLICE("orders"));
    send_all(0);
    send_all(1);
    seek(0);
    read_at(0, 0);
    history_final_start(h);
    seek(0);
    read_at(1, 1);
    history_final(h, TOPIC, PART, 0, 2);
    history_judge(h);
    expect(NULL);
}

Test(history, gap_in_a_stream)
{
    send_all(0);
    seek(0);
    read_at(1, 0);
    expect("gap");
}

Test(history, gap_in_the_final_log)
{
    history_final_start(h);
    history_final(h, TOPIC, PART, 0, 1);
    history_judge(h);
    expect("gap");
}

/* Who knew its sequence number may not know it any more. */
Test(history, a_record_that_was_deleted_may_come_again)
{
    send_all(0);
    seek(0);
    read_at(0, 0);
    history_delete_asked(h, TOPIC, PART, 1);
    ack(0, 5);
    expect(NULL);
}

/* A high watermark that was behind lets the log grow while it is read. */
Test(history, the_final_log_may_grow)
{
    send_all(0);
    send_all(1);
    history_final_start(h);
    seek(0);
    read_at(0, 0);
    history_final(h, TOPIC, PART, 0, 1);
    read_at(1, 1);
    history_judge(h);
    expect(NULL);
}

/* ... but what was read before has to be there again. */
Test(history, the_final_log_may_not_shrink)
{
    send_all(0);
    send_all(1);
    seek(0);
    read_at(0, 0);
    read_at(1, 1);
    history_final_start(h);
    seek(0);
    read_at(0, 0);
    history_final(h, TOPIC, PART, 0, 1);
    history_judge(h);
    expect("lost");
}

Test(history, a_seek_is_no_gap)
{
    send_all(0);
    seek(0);
    seek(1);
    read_at(1, 0);
    expect(NULL);
}

Test(history, changed)
{
    send_all(0);
    send_all(1);
    seek(0);
    read_at(0, 0);
    seek(0);
    read_at(0, 1);
    expect("changed");
}

Test(history, changed_epoch)
{
    send_all(0);
    seek(0);
    read_at(0, 0);
    seek(0);
    struct history_read r = read_of(0, 0);
    r.leader_epoch = 3;
    history_read(h, &r);
    expect("changed");
}

Test(history, changed_by_two_acknowledgements)
{
    send_all(0);
    send_all(1);
    ack(0, 0);
    ack(1, 0);
    expect("changed");
}

Test(history, read_twice_alike)
{
    send_all(0);
    for (int i = 0; i < 2; i++) {
        seek(0);
        read_at(0, 0);
    }
    expect(NULL);
}

Test(history, foreign_never_sent)
{
    seek(0);
    read_at(0, 0);
    expect("foreign");
}

Test(history, foreign_partition)
{
    send_all(0);
    struct history_read r = read_of(0, 0);
    r.partition = PART + 1;
    history_read(h, &r);
    expect("foreign");
}

Test(history, foreign_incarnation)
{
    struct uuid id = {{2}};
    send_all(0);
    struct history_read r = read_of(0, 0);
    r.topic = history_topic(h, SLICE("orders"), id);
    cr_assert_neq(r.topic, TOPIC);
    history_read(h, &r);
    expect("foreign");
}

Test(history, corrupt_bytes)
{
    send_all(0);
    struct history_read r = read_of(0, 0);
    r.sound = false;
    history_read(h, &r);
    expect("corrupt");
}

Test(history, corrupt_time)
{
    send_all(0);
    struct history_read r = read_of(0, 0);
    r.timestamp_ms++;
    history_read(h, &r);
    expect("corrupt");
}

Test(history, epoch_back)
{
    send_all(0);
    send_all(1);
    seek(0);
    read_at(0, 0);
    struct history_read r = read_of(1, 1);
    r.leader_epoch = 1;
    history_read(h, &r);
    expect("epoch-back");
}

/* ---- ends of the log ----------------------------------------------------- */

Test(history, watermark_back)
{
    history_watermark(h, TOPIC, PART, 5, history_now(h), 10);
    history_watermark(h, TOPIC, PART, 5, history_now(h), 9);
    expect("watermark");
}

Test(history, watermark_of_a_question_from_before)
{
    uint64_t before = history_now(h);
    history_watermark(h, TOPIC, PART, 5, before, 10);
    history_watermark(h, TOPIC, PART, 5, before, 9);
    expect(NULL);
}

Test(history, watermark_of_a_new_leader)
{
    history_watermark(h, TOPIC, PART, 5, history_now(h), 10);
    history_watermark(h, TOPIC, PART, 6, history_now(h), 9);
    expect(NULL);
}

Test(history, latest_of_a_new_leader)
{
    history_watermark(h, TOPIC, PART, 5, history_now(h), 10);
    history_latest(h, TOPIC, PART, 6, history_now(h), 9);
    expect("latest");
}

Test(history, latest_of_an_old_leader)
{
    history_watermark(h, TOPIC, PART, 6, history_now(h), 10);
    history_latest(h, TOPIC, PART, 5, history_now(h), 9);
    expect(NULL);
}

Test(history, range)
{
    history_watermark(h, TOPIC, PART, 5, history_now(h), 10);
    history_out_of_range(h, TOPIC, PART, 5, history_now(h), 10);
    expect("range");
}

Test(history, range_after_deletion)
{
    history_watermark(h, TOPIC, PART, 5, history_now(h), 10);
    history_delete_asked(h, TOPIC, PART, 8);
    history_out_of_range(h, TOPIC, PART, 5, history_now(h), 7);
    expect(NULL);
}

static void ask_time(int64_t time_ms, int64_t offset, int64_t found_ms)
{
    send_all(0); /* 1000 */
    send_all(1); /* 1001 */
    send_all(2); /* 1002 */
    history_watermark(h, TOPIC, PART, 5, history_now(h), 3);
    history_by_time(h, TOPIC, PART, 5, history_now(h), time_ms, offset,
                    found_ms);
    FINISH(0, 0, 1, 2);
}

Test(history, by_time)
{
    ask_time(1001, 1, 1001);
    expect(NULL);
}

Test(history, by_time_too_late)
{
    ask_time(1001, 2, 1002);
    expect("by-time");
}

Test(history, by_time_too_early)
{
    ask_time(1001, 0, 1000);
    expect("by-time");
}

Test(history, by_time_denied)
{
    ask_time(1002, -1, -1);
    expect("by-time");
}

Test(history, by_time_none)
{
    ask_time(1003, -1, -1);
    expect(NULL);
}

/* ---- groups -------------------------------------------------------------- */

Test(history, two_owners)
{
    history_assigned(h, "g", 1, "a", TOPIC, PART);
    history_assigned(h, "g", 1, "b", TOPIC, PART);
    expect("two-owners");
}

Test(history, a_partition_is_claimed_while_another_has_it)
{
    history_claimed(h, "g", 1, "a", TOPIC, PART);
    history_claimed(h, "g", 2, "b", TOPIC, PART);
    expect("two-owners");
}

Test(history, a_partition_is_claimed_when_another_has_given_it_up)
{
    history_claimed(h, "g", 1, "a", TOPIC, PART);
    history_claimed(h, "g", 2, "a", TOPIC, PART);
    history_claimed(h, "f", 2, "b", TOPIC, PART);
    history_released(h, "g", "b", TOPIC, PART);
    history_released(h, "g", "a", TOPIC, PART);
    history_claimed(h, "g", 2, "b", TOPIC, PART);
    expect(NULL);
}

Test(history, owners_change_with_generations)
{
    history_assigned(h, "g", 1, "a", TOPIC, PART);
    history_assigned(h, "g", 2, "b", TOPIC, PART);
    history_assigned(h, "f", 1, "b", TOPIC, PART);
    history_assigned(h, "g", 1, "a", TOPIC, PART);
    expect(NULL);
}

Test(history, unclean_may_begin_generations_anew)
{
    end();
    begin_with(true);
    history_assigned(h, "g", 1, "a", TOPIC, PART);
    history_assigned(h, "g", 2, "a", TOPIC, PART);
    history_assigned(h, "g", 1, "b", TOPIC, PART);
    int64_t c = history_commit(h, "g", 1, "b", TOPIC, PART, 5);
    history_committed(h, c, HISTORY_ACKED);
    expect(NULL);
}

static int64_t commit(int32_t generation, int64_t offset, bool acked)
{
    int64_t c = history_commit(h, "g", generation, "a", TOPIC, PART, offset);
    history_committed(h, c, acked ? HISTORY_ACKED : HISTORY_UNKNOWN);
    return c;
}

static void fetch(int32_t generation, int64_t c, int64_t offset)
{
    history_offset(h, "g", generation, TOPIC, PART, history_now(h), c, offset);
}

Test(history, zombie)
{
    int64_t c = history_commit(h, "g", 1, "a", TOPIC, PART, 5);
    history_committed(h, c, HISTORY_ACKED);
    history_assigned(h, "g", 2, "b", TOPIC, PART);
    expect(NULL);
    commit(1, 6, true);
    expect("zombie");
}

Test(history, commit_behind)
{
    int64_t first = commit(1, 5, true);
    commit(1, 6, true);
    fetch(1, first, 5);
    expect("commit-behind");
}

Test(history, commit_behind_an_unknown_of_an_older_generation)
{
    int64_t first = commit(1, 5, false);
    commit(2, 6, true);
    fetch(2, first, 5);
    expect("commit-behind");
}

/* Its commit of an earlier epoch was late (KIP-1251), seed 3411436. */
Test(history, a_member_that_has_left_committed_for_what_it_had)
{
    history_claimed(h, "g", 1, "a", TOPIC, PART);
    int64_t first = commit(1, 5, false);
    commit(2, 6, true);
    history_released(h, "g", "a", TOPIC, PART);
    fetch(2, first, 5);
    expect(NULL);
}

Test(history, commit_behind_nothing)
{
    commit(1, 5, true);
    fetch(1, -1, -1);
    expect("commit-behind");
}

Test(history, commit_that_is_newest)
{
    commit(1, 5, true);
    int64_t second = commit(1, 4, true);
    fetch(1, second, 4);
    expect(NULL);
}

Test(history, commit_unknown_may_come_late)
{
    int64_t first = commit(1, 5, false);
    commit(1, 6, true);
    fetch(1, first, 5);
    expect(NULL);
}

Test(history, commit_after_the_question)
{
    int64_t first = commit(1, 5, true);
    uint64_t asked = history_now(h);
    commit(1, 6, true);
    history_offset(h, "g", 1, TOPIC, PART, asked, first, 5);
    expect(NULL);
}

Test(history, commit_changed)
{
    int64_t c = commit(1, 5, true);
    fetch(1, c, 7);
    expect("commit-changed");
}

Test(history, commit_of_a_deleted_topic)
{
    commit(1, 5, true);
    history_topic_doomed(h, SLICE("orders"));
    fetch(1, -1, -1);
    expect(NULL);
}

Test(history, a_deleted_topic_that_is_first_heard_of_later)
{
    history_topic_doomed(h, SLICE("late"));
    cr_assert(history_topic_is_doomed(
        h, history_topic(h, SLICE("late"), (struct uuid){{1}})));
    history_topic_wanted(h, SLICE("late"));
    cr_assert_not(history_topic_is_doomed(
        h, history_topic(h, SLICE("late"), (struct uuid){{2}})));
    history_final_start(h);
    cr_assert(history_topic_is_doomed(
        h, history_topic(h, SLICE("late"), (struct uuid){{3}})));
    cr_assert_not(history_topic_is_doomed(
        h, history_topic(h, SLICE("late"), (struct uuid){{2}})));
    cr_assert_not(history_topic_is_doomed(
        h, history_topic(h, SLICE("new"), (struct uuid){{4}})));
}

/* ---- events -------------------------------------------------------------- */

Test(history, the_hash_tells_histories_apart)
{
    uint64_t a = history_hash(h);
    history_note(h, "one");
    uint64_t b = history_hash(h);
    end();
    begin();
    cr_assert_eq(history_hash(h), a);
    history_note(h, "one");
    cr_assert_eq(history_hash(h), b);
    history_note(h, "two");
    cr_assert_neq(history_hash(h), b);
}

Test(history, only_the_first_violation_is_kept)
{
    history_violation(h, "metadata", "topic %s is gone", "a");
    history_violation(h, "lost", "more");
    const char *sentence;
    history_verdict(h, &sentence);
    cr_assert_str_eq(sentence, "topic a is gone");
    expect("metadata");
}
