/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat-bridge: let containers reach services on the host's 127.0.0.1. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#ifndef NB_VERSION
#define NB_VERSION "unknown"
#endif

/* A file that we open must not become standard output by chance. */
static void open_standard_streams(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			abort();
}

int main(int argc, char **argv)
{
	struct nb_run run = { .lock = -1, .rules_lock = -1 };
	int status;

	open_standard_streams();
	/* a reader that goes away must not stop a change half-way */
	signal(SIGPIPE, SIG_IGN);
	umask(022);

	if (nb_options_parse(&run, argc, argv) < 0) {
		status = nb_print_failure(&run);
	} else if (run.options.version) {
		status = nb_print_version(&run, NB_VERSION);
	} else if (run.options.help) {
		status = nb_print_help(&run);
	} else if (!run.command) {
		nb_error_set(
			&run.error, NB_STATUS_USAGE, EINVAL, "usage",
			"which command? add, remove, list, status, apply, check, doctor, verify, "
			"flush or watch (try: nat-bridge --help)");
		status = nb_print_failure(&run);
	} else if (run.word_count > 0 && !run.command->synopsis[0]) {
		nb_error_set(&run.error, NB_STATUS_USAGE, EINVAL, "usage",
			     "%s takes no argument: '%.60s' (try: nat-bridge %s --help)",
			     run.command->name, run.words[0], run.command->name);
		status = nb_print_failure(&run);
	} else {
		status = run.command->run(&run);
	}
	nb_run_finish(&run);
	return status;
}
