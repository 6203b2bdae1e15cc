/* Assertions that stay on in release builds.
 *
 * A failed ASSERT means this program has a bug; going on could damage data, so
 * it prints one line and aborts.  Input from outside is never asserted: it is
 * decoded, checked and answered with an error code. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <assert.h> /* static_assert */

_Noreturn void assert_failed(const char *condition, const char *file, int line,
                             const char *function);

#define ASSERT(condition)                                                      \
    ((condition) ? (void)0                                                     \
                 : assert_failed(#condition, __FILE__, __LINE__, __func__))

#endif
