/* Standard input line by line, output whose arrival is known, and the wish to
 * stop.  One thread. */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include "base/slice.h"

struct input {
    int fd;
    struct buf bytes;
    size_t at; /* where the next line starts in bytes */
    bool ended;
    int error; /* errno that ended it; 0: there is no more */
};

void input_init(struct input *in, int fd);
void input_free(struct input *in);
/* The next line without its end (\n, \r\n); false at the end of the input,
 * when it cannot be read (in->error) or after a signal.  Valid until the next
 * call. */
bool input_line(struct input *in, struct slice *line);
/* Whether input_line() would answer at once. */
bool input_ready(const struct input *in);
/* Whether a person is typing. */
bool input_is_terminal(const struct input *in);

/* Appends the bytes of a file, no more than a little above `max`.  False with a
 * sentence in *why that the caller frees. */
bool file_read(const char *path, size_t max, struct buf *out, char **why);

/* Writes all of the bytes, past the buffers of stdio, waiting while `fd` is
 * full.  False with errno; EINTR if a signal wants us to stop meanwhile. */
bool output_write(int fd, struct slice bytes);

/* From now on the first SIGINT and the first SIGTERM only set a flag. */
void interrupt_install(void);
bool interrupt_seen(void);
/* The deadline (net_now_ms()) of something that must not outlast the wish to
 * stop by more than a few seconds, however long it may take otherwise. */
int64_t interrupt_bound(int64_t deadline_ms);

#endif
