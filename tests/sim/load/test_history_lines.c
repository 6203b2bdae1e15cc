/* Histories as text: what each kind of harm looks like there, and that it is
 * noticed. */
#include "tests/sim/load/history_lines.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct history_lines lines;

static void begin(void)
{
    struct history_promise promise = {false};

    lines = (struct history_lines){.history = history_new(&promise)};
}

static void end(void)
{
    history_lines_free(&lines);
    history_free(lines.history);
}

TestSuite(history_lines, .init = begin, .fini = end);

/* ---- shorthands ---------------------------------------------------------- */

/* Lines that end with newlines; the first that is refused, or NULL. */
static const char *take(const char *text)
{
    static char line[256];

    while (*text != '\0') {
        const char *newline = strchr(text, '\n');
        snprintf(line, sizeof line, "%.*s", (int)(newline - text), text);
        if (!history_lines_take(&lines, line))
            return line;
        text = newline + 1;
    }
    return NULL;
}

static void judge(const char *text, const char *checker)
{
    const char *sentence;
    const char *refused = take(text);

    cr_assert_null(refused, "refused: %s", refused);
    if (lines.ended)
        history_judge(lines.history);
    const char *got = history_verdict(lines.history, &sentence);
    cr_assert((got == NULL) == (checker == NULL) &&
                  (got == NULL || strcmp(got, checker) == 0),
              "wanted %s, got %s: %s", checker ? checker : "nothing",
              got ? got : "nothing", sentence ? sentence : "");
}

/* Producer 0 is idempotent and has sent numbers 0 to 2; 0 and 1 are
 * acknowledged.  Producer 1 has sent a record with acks=1. */
#define WRITTEN                                                                \
    "topic 0 orders\n"                                                         \
    "session 0 0\n"                                                            \
    "sent 0 0 0 3 -1 0 0 1000\n"                                               \
    "acked 0 0 0 0\n"                                                          \
    "sent 0 0 1 3 -1 0 1 1001\n"                                               \
    "acked 0 0 1 1\n"                                                          \
    "sent 0 0 2 3 -1 0 2 1002\n"                                               \
    "unknown 0 0 2 connection closed\n"                                        \
    "sent 0 1 0 3 1 -1 -1 1003\n"

#define READ(offset, producer, number)                                         \
    "read 0 0 3 " #offset " 2 100" #number " " #producer " " #number " 1\n"

/* ---- harm ---------------------------------------------------------------- */

Test(history_lines, all_is_well)
{
    judge(WRITTEN "final-start\nseek 0 0 3 0\n" READ(0, 0, 0) READ(1, 0, 1)
              READ(2, 0, 2) "final 0 3 0 3\nend\n",
          NULL);
    cr_assert(lines.ended);
}

Test(history_lines, unknown_may_be_missing)
{
    judge(WRITTEN "final-start\nseek 0 0 3 0\n" READ(0, 0, 0)
              READ(1, 0, 1) "final 0 3 0 2\nend\n",
          NULL);
}

Test(history_lines, lost)
{
    judge(WRITTEN
          "final-start\nseek 0 0 3 0\n" READ(0, 0, 0) "final 0 3 0 1\nend\n",
          "lost");
}

Test(history_lines, duplicate)
{
    judge(WRITTEN "seek 0 0 3 0\n" READ(0, 0, 0) READ(1, 0, 1) READ(2, 0, 0),
          "duplicate");
}

Test(history_lines, reordered)
{
    judge("topic 0 orders\n"
          "session 0 0\n"
          "sent 0 0 0 3 -1 0 0 1000\n"
          "sent 0 0 1 3 -1 0 1 1001\n"
          "final-start\nseek 0 0 3 0\n" READ(0, 0, 1)
              READ(1, 0, 0) "final 0 3 0 2\nend\n",
          "reordered");
}

Test(history_lines, changed)
{
    judge(WRITTEN "seek 0 0 3 0\n" READ(0, 0, 0) READ(1, 0, 1)
              READ(2, 0, 2) "seek 1 0 3 2\n"
                            "read 1 0 3 2 2 1003 1 0 1\n",
          "changed");
}

Test(history_lines, altered)
{
    judge(WRITTEN "read 0 0 3 0 2 1000 0 0 0\n", "corrupt");
}

Test(history_lines, foreign)
{
    judge(WRITTEN "read 0 0 3 2 2 1000 0 7 1\n", "foreign");
}

Test(history_lines, gap)
{
    judge(WRITTEN "seek 0 0 3 0\n" READ(0, 0, 0) READ(2, 0, 2), "gap");
}

#define JOINED                                                                 \
    "topic 0 orders\n"                                                         \
    "assigned g 4 a 0 3\n"                                                     \
    "delivered g 0 3 0\n"                                                      \
    "delivered g 0 3 1\n"                                                      \
    "commit 0 g 4 a 0 3 1\n"                                                   \
    "committed 0 acked\n"                                                      \
    "commit 1 g 4 a 0 3 2\n"                                                   \
    "committed 1 acked\n"                                                      \
    "assigned g 5 b 0 3\n"

Test(history_lines, resumes_where_it_was)
{
    judge(JOINED "ask 0\noffset 0 g 5 0 3 1 2\n", NULL);
}

Test(history_lines, stale_commit)
{
    judge(JOINED "ask 0\noffset 0 g 5 0 3 0 1\n", "commit-behind");
}

Test(history_lines, commit_of_a_replaced_generation)
{
    judge(JOINED "commit 2 g 4 a 0 3 2\ncommitted 2 acked\n", "zombie");
}

Test(history_lines, two_owners)
{
    judge(JOINED "assigned g 5 c 0 3\n", "two-owners");
}

Test(history_lines, group_reads_again)
{
    judge(JOINED "delivered g 0 3 1\ndelivered g 0 3 2\n", NULL);
}

Test(history_lines, group_skips)
{
    judge(JOINED "delivered g 0 3 3\n", "unread");
}

Test(history_lines, group_commits_what_nobody_read)
{
    judge(JOINED "commit 2 g 5 b 0 3 3\n", "unread");
}

/* ---- lines that are none ------------------------------------------------- */

Test(history_lines, refused)
{
    static const char *const bad[] = {
        "",
        "rubbish",
        "topic 0 orders", /* twice */
        "topic 1",
        "session 0 0",
        "session 2 0",
        "sent 0 0 7 3 -1 0 0 1000",
        "sent 0 0 3 3 -1 0 0",
        "sent 0 0 3 3 -1 0 0 1000 5",
        "sent 1 0 3 3 -1 0 0 1000",
        "sent 0 0 3 3 -1 9 0 1000",
        "acked 0 0 3 0",
        "acked 0 0 0 x",
        "acked 0 0 0 99999999999999999999",
        "committed 0 acked",
        "offset 0 g 5 0 3 1 2",
        "ask 1",
    };

    cr_assert_null(take(WRITTEN));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(history_lines_take(&lines, bad[i]), "taken: %s", bad[i]);
    cr_assert(history_lines_take(&lines, "note whatever there is to say"));
    cr_assert(history_lines_take(&lines, "end"));
    cr_assert_not(history_lines_take(&lines, "note too late"));
}
