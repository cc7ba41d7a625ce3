/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that logs who connects where: docs/log.md. */
#ifndef NAT_BRIDGE_FLOW_LOG_H
#define NAT_BRIDGE_FLOW_LOG_H

#include <sys/types.h>

#include "cli.h"

/*
 * Begin to log to run->options.log, in a child. Returns its process ID; *@ret_pipe is at its end
 * when the child is; the caller closes it, and waits. What cannot be opened is a failure here,
 * not there (-errno, run->error filled). SIGTERM ends it, SIGHUP opens the file again.
 * @resume: an earlier one was ended by something else, so that events may be missing.
 */
pid_t nb_flow_log_start(struct nb_run *run, bool resume, int *ret_pipe);

#endif
