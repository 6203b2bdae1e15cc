/* Loggers and their levels. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(log, .timeout = 10);

static int lines;
static enum log_level last_level;
static char last[256];

static void note(enum log_level level, const char *area, const char *message)
{
    lines++;
    last_level = level;
    snprintf(last, sizeof last, "%s: %s", area, message);
}

/* Whether a line of that level and area is written. */
static bool writes(enum log_level level, const char *area)
{
    int before = lines;

    log_line(level, area, "line %d", 7);
    return lines > before;
}

static int logger(const char *name)
{
    int i = log_logger_find(slice_str(name));

    cr_assert_geq(i, 0, "%s", name);
    return i;
}

static void begin(void)
{
    lines = 0;
    log_set_sink(note, LOG_INFO);
}

Test(log, without_levels_of_their_own_all_have_roots)
{
    begin();
    for (int i = 0; i < log_loggers(); i++)
        cr_assert_eq(log_logger_level(i), LOG_INFO);
    cr_assert(writes(LOG_INFO, "raft"));
    cr_assert_str_eq(last, "raft: line 7");
    cr_assert_eq(last_level, LOG_INFO);
    cr_assert_not(writes(LOG_DEBUG, "raft"));
    log_logger_set(logger("root"), LOG_ERROR);
    cr_assert_eq(log_logger_level(logger("raft")), LOG_ERROR);
    cr_assert_not(writes(LOG_WARN, "raft"));
    cr_assert(writes(LOG_ERROR, "raft"));
    log_logger_set(logger("root"), LOG_TRACE);
    cr_assert(writes(LOG_TRACE, "share"));
}

Test(log, a_level_of_its_own_wins_over_roots)
{
    begin();
    log_logger_set(logger("raft"), LOG_DEBUG);
    log_logger_set(logger("server"), LOG_FATAL);
    cr_assert(writes(LOG_DEBUG, "raft"));
    cr_assert_not(writes(LOG_DEBUG, "replica"));
    cr_assert_not(writes(LOG_ERROR, "server"));
    log_logger_set(logger("root"), LOG_WARN);
    cr_assert(writes(LOG_DEBUG, "raft"));
    cr_assert_not(writes(LOG_INFO, "replica"));
    cr_assert_eq(log_logger_level(logger("server")), LOG_FATAL);

    log_logger_unset(logger("raft"));
    log_logger_unset(logger("server"));
    cr_assert_eq(log_logger_level(logger("raft")), LOG_WARN);
    cr_assert_not(writes(LOG_INFO, "raft"));
    cr_assert(writes(LOG_WARN, "server"));
}

Test(log, an_area_that_is_no_logger_has_roots_level)
{
    begin();
    cr_assert_eq(log_logger_find(SLICE("nothing")), -1);
    cr_assert_eq(log_logger_find(SLICE("")), -1);
    cr_assert_eq(log_logger_find(slice_of("raft\0x", 6)), -1);
    cr_assert(writes(LOG_INFO, "nothing"));
    cr_assert_not(writes(LOG_DEBUG, "nothing"));
}

Test(log, names_are_sorted_and_levels_are_in_capitals)
{
    enum log_level level;

    for (int i = 1; i < log_loggers(); i++)
        cr_assert_lt(strcmp(log_logger_name(i - 1), log_logger_name(i)), 0);
    for (int i = 0; i < log_loggers(); i++)
        cr_assert_eq(log_logger_is_root(i),
                     strcmp(log_logger_name(i), "root") == 0);
    for (int i = LOG_TRACE; i <= LOG_FATAL; i++) {
        cr_assert(log_level_find(slice_str(log_level_name((enum log_level)i)),
                                 &level));
        cr_assert_eq((int)level, i);
    }
    cr_assert_not(log_level_find(SLICE("info"), &level));
    cr_assert_not(log_level_find(SLICE("INFORM"), &level));
    cr_assert_not(log_level_find(SLICE_NULL, &level));
}
