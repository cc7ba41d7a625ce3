/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One GET request over a Unix socket. */
#ifndef NAT_BRIDGE_HTTP_H
#define NAT_BRIDGE_HTTP_H

#include <stddef.h>

#define NB_HTTP_BODY_MAX (16u << 20)

struct nb_http_answer {
	int status; /* 200, ... */
	char *body; /* owned; a NUL stands behind it */
	size_t length;
};

/*
 * GET @target from the server at the socket @path, in @wait_ms at most. Only
 * a server of root or of the caller is spoken to. Returns 0 for any status; otherwise -errno
 * and, in @why, a clause such as "does not answer at /run/x (connection refused)":
 *   -ENOENT, -ECONNREFUSED  nobody is there
 *   -EACCES, -EPERM         not for us; somebody else's
 *   -ETIMEDOUT, -EFBIG      too slow, too large
 *   -EPROTO                 no HTTP
 */
int nb_http_get(const char *path, const char *target, int wait_ms, struct nb_http_answer *ret,
		char *why, size_t why_size);
/*
 * The same for an answer that does not end: a descriptor to read from, which the caller closes, or
 * -errno. What comes is not interpreted.
 */
int nb_http_stream(const char *path, const char *target, int wait_ms);
void nb_http_answer_clear(struct nb_http_answer *answer);

#endif
